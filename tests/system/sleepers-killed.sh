# cases
# A worker is killed when threads that wait have been read, or made, before the freeze: the task
# goes on where it was, and can move another time.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' source destination
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need_fault_points
case $1 in
source) point=sleepers host=A ;;
destination) point=sleepers-made host=B ;;
esac
lab_hold $point
lab_up
start A sleepers
on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" >"$LAB_DIR/migrate.out" 2>&1 </dev/null &
mover=$!
await_held $point
on $host kill -KILL "$HELD"
! wait $mover || fail "cor migrate says that all went well"
rounds 3
go B
rounds 3
finish
lab_end
