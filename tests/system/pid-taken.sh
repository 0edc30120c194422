# A task keeps its PID where the destination uses that number for something else.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A identity plain
# Processes on B until one has the task's number: numbers are given in turn.
on B sh -c 'echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid' sh "$TASK_PID"
spawn B sleeper sleep 1000
wait_for 5 alive B "$TASK_PID" || fail "PID $TASK_PID could not be taken"
lab_mark_on=$TASK_PID
go B
[ "$TASK_PID" != "$lab_mark_on" ] || fail "two processes have PID $TASK_PID"
rounds 3
go A
rounds 3
finish
on B kill "$SPAWNED"
wait_for 5 gone B "$SPAWNED"
lab_end
