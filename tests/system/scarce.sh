# cases
# A host has too little: a migration is carried out, or refused with a word of what there is
# not, and the task goes on where it was. It is never lost for that, nor is anything left over.
# timeout: 180
if [ "${1:-}" = --cases ]; then
	printf '%s\n' descriptors-a descriptors-b memory-a memory-b disk-a disk-b
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
over_tcp 'that is given up first, where something is scarce'
what=${1%-*} host=${1##*-}
host=${host^^}
refused=0 moved=0

# limit RESOURCE=N: of the host's cord, which its workers inherit.
limit()
{
	on "$host" prlimit --pid "${LAB_CORD[$host]}" "--$1:"
}

nobody_left()
{
	local h

	for h in A B; do
		! on "$h" pgrep '^cord-' >/dev/null || return 1
	done
}

# tries WHAT WORDS: a migration now; if it is refused, then in these words.
tries()
{
	local status=0

	migrate A "$TASK_PID" B || status=$?
	case $status in
	0)
		moved=$((moved + 1))
		TASK_HOST=B TASK_PID=$MOVED
		rounds 1
		unlimited
		wait_for 10 nobody_left || fail "with $1: processes are left"
		go A
		;;
	1)
		refused=$((refused + 1))
		grep -Eiq "$2" "$LAB_DIR/migrate.err" || fail "with $1: $(cat "$LAB_DIR/migrate.err")"
		rounds 1
		;;
	*) fail "with $1: exit status $status: $(cat "$LAB_DIR/migrate.err")" ;;
	esac
	wait_for 10 nobody_left || fail "with $1: processes are left: $(on A pgrep -l '^cord-') $(on B pgrep -l '^cord-')"
}

unlimited()
{
	case $what in
	descriptors) limit nofile=1024 ;;
	memory) limit as=unlimited ;;
	esac
}

lab_up
start A plain
case $what in
descriptors)
	for n in 14 17 20 23 26 30 36 44 56; do
		limit nofile=$n
		tries "$n descriptors" 'too many open files|descriptor|closed|connection|EMFILE'
		unlimited
	done
	;;
memory)
	base=$(on "$host" awk '/^VmSize:/ { print $2 }' "/proc/${LAB_CORD[$host]}/status")
	for mib in 1 2 4 8 16 32 64; do
		limit as=$(((base + mib * 1024) * 1024))
		tries "$mib MiB" 'memory|allocate|closed|connection|thread'
		unlimited
	done
	;;
disk)
	for path in /run/cor/state /dev/shm; do
		on "$host" sh -c "head -c 65m /dev/zero >$(dirname $path)/ballast 2>/dev/null; true"
		tries "a full $path" 'space'
		on "$host" rm -f "$(dirname $path)/ballast"
	done
	;;
esac
echo "$refused times refused, $moved times moved"
[ $refused -gt 0 ] || fail "it was never refused: the limits are none"
unlimited
finish
lab_end
