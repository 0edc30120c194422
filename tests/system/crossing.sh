# Two tasks with the same PID pass each other: one from A to B, one from B to A.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A pattern 64
first_pid=$TASK_PID first_out=$TASK_OUT
start B pattern 64
second_pid=$TASK_PID second_out=$TASK_OUT
# In turn the same file for the results: the first one's is kept aside.
(
	LAB_DIR=$LAB_DIR/A
	move A "$first_pid" B
	echo "$MOVED" >"$LAB_DIR/moved"
) &
job=$!
move B "$second_pid" A
second_pid=$MOVED
wait $job || fail "the first move failed"
first_pid=$(<"$LAB_DIR/A/moved")
TASK_HOST=B TASK_PID=$first_pid TASK_OUT=$first_out
rounds 2
finish
TASK_HOST=A TASK_PID=$second_pid TASK_OUT=$second_out
rounds 2
finish
lab_end
