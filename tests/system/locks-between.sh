# A task that holds a POSIX lock for half of the time is moved while it holds none: given up here
# and taken again there it would be anybody's in between.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need python3
need_fault_points
lab_hold captured
lab_up
start_foreign A locker python3 "$LAB_TOP/tests/programs/locker.py" "$LAB_DIR/A/locked"
rounds 3
migrate A "$TASK_PID" B &
migration=$!
await_held captured
held=$(on A cat /proc/locks | grep -c "POSIX.* $TASK_PID ") || :
lab_release captured
wait "$migration" || fail "$(cat "$LAB_DIR/migrate.err")"
[ "$held" = 0 ] || fail "it is moved with $held locks"
TASK_HOST=B TASK_PID=$(result .destination_pid)
rounds 3
finish
lab_end
