# A task that is stopped stays stopped on the other host, and goes on with SIGCONT.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A plain
on A kill -STOP "$TASK_PID"
stopped() { on "$TASK_HOST" grep -q '^State:.T' "/proc/$TASK_PID/status"; }
wait_for 5 stopped || fail "it does not stop"
go B
wait_for 5 stopped || fail "it runs on B, where it should be stopped"
was=$(beat)
on B kill -CONT "$TASK_PID"
rounds 3
[ "$(beat)" -gt "$was" ] || fail "it does not go on"
finish
lab_end
