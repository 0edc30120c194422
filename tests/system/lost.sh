# A source out of reach for longer than reconnect-s: the task, which has no way to its
# pages, is killed and reported as lost, by both sides once they can speak again.
# timeout: 180
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
LAB_CONFIG='[timeouts]
silence-s = 2
reconnect-s = 2'
lab_up
start A pattern 256
leave A B
on A ip link set eth0 down
await_session B destination lost 30
wait_for 5 gone B "$TASK_PID" || fail "the task still runs on B"
on B cor status --json | jq -er '.sessions[0].error' | grep 'out of reach for 2 s; missing are [0-9]* pages: ' ||
	fail "cor status on B does not say what was missing"
session_is A source detached || fail "A gave the ghost up without having been told"
on A ip link set eth0 up
await_session A source lost 30
wait_for 5 gone A "$TASK_LEFT" || fail "the ghost is still on A"
lab_end
