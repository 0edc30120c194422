# cases
# A thread that is born behind the look at the task has a number that the destination has given to
# somebody else by then. It keeps it, in a PID namespace of the task's own; and where that comes so
# late that the rebuild is half done, another attempt does it.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' before in-freeze once
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need python3
need_fault_points
lab_hold lanes
COR_FAULT=@$HELD_DIR/fault      # two points, one behind the other

# hold POINT: who comes there from now on waits, once.
hold()
{
	echo "$1:hold=$HELD_DIR" >"$HELD_DIR/next"
	mv "$HELD_DIR/next" "$HELD_DIR/fault"
}

tid()
{
	# shellcheck disable=SC2016 # there
	on A sh -c 'ls "/proc/$1/task" | grep -vx "$1"' sh "$TASK_PID"
}

lab_up
# numbers that nobody has on B: it is made ahead, in the PID namespace of the host
on A sh -c 'echo 5000 >/proc/sys/kernel/ns_last_pid'
start_foreign A born "$(PATH=/usr/bin:$PATH command -v python3)" "$LAB_TOP/tests/programs/born.py"
rounds 2
hold lanes
status=0
attempts=
[ "$1" != once ] || attempts='--attempts 1'
# shellcheck disable=SC2086 # an option and its value
migrate A "$TASK_PID" B $attempts &
migration=$!
await_held lanes
on A kill -USR1 "$TASK_PID"
wait_for 5 tid >/dev/null || fail "it makes no thread"
number=$(tid)
if [ "$1" = before ]; then
	occupy B "$number"
	lab_release lanes
else
	hold built
	lab_release lanes
	await_held built
	occupy B "$number"
	lab_release built
fi
wait "$migration" || status=$?
if [ "$1" = once ]; then
	[ $status -eq 1 ] || fail "exit status $status"
	[ "$(result .again)" = true ] || fail "it is not told that another attempt may do"
else
	[ $status -eq 0 ] || fail "$(cat "$LAB_DIR/migrate.err")"
	TASK_HOST=B TASK_PID=$(result .destination_pid)
fi
case $1 in
before)
	[ "$(result .built_ahead)" = false ] || fail "it was built ahead, without its new thread"
	[ "$(result .attempts)" = 1 ] || fail "it took $(result .attempts) attempts" ;;
in-freeze)
	[ "$(result .attempts)" = 2 ] || fail "it took $(result .attempts) attempts"
	grep -q 'taken on this host just now; try again (attempt 1 of 3)' "$LAB_DIR/migrate.err" ||
		fail "$(cat "$LAB_DIR/migrate.err")" ;;
esac
rounds 5
finish
on B kill "$number" || fail "the process that had the number is gone"
lab_end
