# Somebody looks at all processes of the hosts all the while, as ps(1) and top(1) do: what is
# read of a task that is being made must not count as having come. Its arguments are such.
# timeout: 120
. "$(dirname "$0")/../tasks.sh"

# shellcheck disable=SC2016
look='while :; do
	for p in /proc/[0-9]*; do
		read -r x <"$p/cmdline"; read -r x <"$p/environ"
	done
done 2>/dev/null'

lab_up
start A threads
command=$(on A cat "/proc/$TASK_PID/cmdline" | tr '\0' ' ')
[ -n "$command" ] || fail "$TASK has no arguments"
looker=()
for host in A B; do
	spawn $host look bash -c "$look"
	looker+=("$host:$SPAWNED")
done
for to in B A B A B A; do
	go $to
	rounds 2
	now=$(on $to cat "/proc/$TASK_PID/cmdline" | tr '\0' ' ')
	[ "$now" = "$command" ] || fail "the arguments have become \"$now\""
done
for one in "${looker[@]}"; do
	on "${one%:*}" kill -KILL "${one#*:}"
done
finish
lab_end
