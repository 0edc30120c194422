# cases
# A task with descriptors of high numbers, for a host that has few: its stub's own lie above
# them. With less room than usual it moves; with none it is refused by name and goes on.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' room none
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
case $1 in
room) number=900 ;;
none) number=1000 ;;
esac

lab_up
on B prlimit --pid "${LAB_CORD[B]}" --nofile=1024:1024
TASK=plain TASK_HOST=A TASK_OUT=$LAB_DIR/A/plain
# shellcheck disable=SC2016
spawn A plain bash -c 'eval "exec $1</dev/null"; shift; exec plain -p "$1"' start "$number" "$TASK_OUT.beat"
TASK_PID=$SPAWNED
wait_for 30 test -s "$TASK_OUT.beat" || fail 'plain did not begin'
# who may raise its limit has room in any case
may=$((0x$(on B awk '/^CapEff:/ { print $2 }' "/proc/${LAB_CORD[B]}/status") >> 24 & 1))
if [ "$1" = none ] && [ $may -eq 0 ]; then
	status=0
	migrate A "$TASK_PID" B || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	grep -q 'descriptor 1000 of the task is too near the limit' "$LAB_DIR/migrate.err" ||
		fail "the error does not name the descriptor: $(cat "$LAB_DIR/migrate.err")"
	rounds 5
else
	go B
	rounds 3
	on B test -e "/proc/$TASK_PID/fd/$number" || fail "descriptor $number is gone"
fi
finish
lab_end
