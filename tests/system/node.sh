# node: code made at run time, a garbage-collected heap, worker threads.
. "$(dirname "$0")/../tasks.sh"
need node
lab_up
TASK=node TASK_HOST=A TASK_OUT=$LAB_DIR/A/node
spawn A node node "$LAB_TOP/tests/programs/compute.js" "$TASK_OUT.beat"
TASK_PID=$SPAWNED
wait_for 30 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "node did not begin"; }
go B
rounds 3
go A
rounds 3
finish
lab_end
