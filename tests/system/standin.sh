# short
# A parent that waits at home is told all that it would be told of its child: that it is
# stopped, goes on, and ends; signals to the PID at home reach the task. On a third host too.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../standin.sh"
lab_up A B C
child A threads
away B
rounds 2
on A kill -STOP "$HOME_PID"
waited "stopped 19"
wait_for 5 is_in_state B "$TASK_PID" T || fail "the task is not stopped"
on A kill -CONT "$HOME_PID"
waited continued
rounds 2
on B kill -STOP "$TASK_PID"
waited "stopped 19"
on B kill -CONT "$TASK_PID"
waited continued
rounds 2
away C
rounds 2
on A kill -TERM "$HOME_PID"
waited "exited 0"
wait_for 5 gone C "$TASK_PID" || fail "the task has not ended"
wait_for 5 gone A "$PARENT" || fail "the parent has not ended"
tail -n 1 "$TASK_OUT.out" | grep "^ok " || fail "$(tail -n 1 "$TASK_OUT.out")"
lab_end
