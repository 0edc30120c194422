# A terminal that hangs up ends what runs in it: the leader of its session, which is the
# task, is told by SIGHUP, once, and can say so; nothing is left.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../tmux.sh"
lab_up
heard=$LAB_DIR/heard
terminal A "exec python3 $LAB_TOP/tests/programs/heed.py $heard"
wait_for 10 test -s "$heard" || fail "the task does not begin"
TASK_HOST=A
TASK_PID=$(on A pgrep -x python3)
hop B
on A tmux -S "$LAB_DIR/tmux" resize-window -x 90 -y 20
wait_for 10 grep -q '^28 ' "$heard" || fail "the new size does not arrive: $(cat "$heard")"
on A tmux -S "$LAB_DIR/tmux" kill-server
wait_for 10 grep -q '^1 ' "$heard" || fail "SIGHUP does not arrive: $(cat "$heard")"
on B kill -TERM "$TASK_PID"
wait_for 10 gone B "$TASK_PID" || fail "the task does not end"
[ "$(grep -c '^1 ' "$heard")" = 1 ] || fail "SIGHUP came more than once: $(cat "$heard")"
lab_end
