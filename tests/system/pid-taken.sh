# A task keeps its PID where the destination uses that number for something else.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A identity plain
taken=$TASK_PID
occupy B "$taken"
lab_mark
go B
[ "$TASK_PID" != "$taken" ] || fail "two processes have PID $TASK_PID"
rounds 3
go A
rounds 3
finish
alive B "$taken" || fail "the process that had the number is gone"
lab_end
