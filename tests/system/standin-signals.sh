# Signals to the PID at home reach the task once and in order, while its pages are still
# there and later, with their siginfo where sigqueue(3) sent them; so they do when the
# network was away. An exit status comes back.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
. "$(dirname "$0")/../standin.sh"
lab_up
heeding A
away B --no-prefetch --wait resumed
on A kill -USR1 "$HOME_PID"
heard "10 0 [0-9]+"
on A python3 -c '
import ctypes, sys
ctypes.CDLL(None).sigqueue(int(sys.argv[1]), 34, ctypes.c_void_p(77))' "$HOME_PID"
heard "34 -1 [0-9]+"
move B "$TASK_PID" A
TASK_HOST=A
TASK_PID=$MOVED
wait_for 10 session_is A source released || fail "the first move is not over"
[ "$TASK_PID" != "$HOME_PID" ] || fail "the task has the stand-in's PID"
on A kill -HUP "$HOME_PID"
heard "1 0 [0-9]+"
away B
on A ip link set eth0 down
on A kill -USR2 "$HOME_PID"
on A ip link set eth0 up
heard "12 0 [0-9]+"
on A kill -TERM "$HOME_PID"
waited "exited 5"
[ "$(sort "$HEARD" | uniq -d | wc -l)" -eq 0 ] || fail "a signal came twice"
wait_for 5 gone B "$TASK_PID" || fail "the task has not ended"
lab_end
