# A task keeps its PID where the destination uses that number for something else.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A identity plain
# Numbers are given in turn: the next one on B is made to be the task's.
# shellcheck disable=SC2016
taken=$(on B sh -c 'echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid
	sleep 1000 </dev/null >/dev/null 2>&1 & echo $!' sh "$TASK_PID")
[ "$taken" = "$TASK_PID" ] || fail "PID $TASK_PID could not be taken, only $taken"
lab_mark
go B
[ "$TASK_PID" != "$taken" ] || fail "two processes have PID $TASK_PID"
rounds 3
go A
rounds 3
finish
alive B "$taken" || fail "the process that had the number is gone"
lab_end
