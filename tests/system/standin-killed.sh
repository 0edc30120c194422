# SIGKILL at home kills the task; a task that is killed where it is was killed for its
# parent too; without a stand-in (--without) the parent is told that the ghost was killed.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../standin.sh"
lab_up
child A threads
away B
on A kill -KILL "$HOME_PID"
waited "killed 9"
wait_for 10 gone B "$TASK_PID" || fail "the task lives on"
child A tls
away B
on B kill -SEGV "$TASK_PID"
waited "killed 11"
wait_for 10 gone A "$PARENT" || fail "the parent waits on"
child A pattern 16
move A "$TASK_PID" B --without stand-in
waited "killed 9"
TASK_HOST=B
TASK_PID=$MOVED
rounds 2
finish
lab_end
