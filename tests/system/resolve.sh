# cases
# A person says that the other host is dead: a task in doubt goes on where it is frozen, one
# that had been handed over is lost, and that says what was missing. Said wrongly, the task
# runs twice only until the hosts see each other again.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' doubt wrong source destination refused
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need_fault_points
LAB_CONFIG='[timeouts]
silence-s = 1'

session_id()
{
	on "$1" cor status --json | jq -er '.sessions[0].id'
}

begin()
{
	start A pattern 64
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json $* \
		</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	mover=$!
}

case $1 in
wrong)
	# B has let the task go, but its word does not arrive, and somebody on A is too sure
	lab_hold let-go
	lab_up
	begin
	await_held let-go
	on A ip link set eth0 down
	await_session A source in-doubt
	on A cor resolve "$(session_id A)" --peer-is-dead >"$LAB_DIR/said"
	grep -q 'runs on here' "$LAB_DIR/said" || { cat "$LAB_DIR/said"; fail "it does not run here"; }
	rounds 3
	lab_release let-go
	await_session B destination detached
	on A ip link set eth0 up
	await_session B destination lost
	there=$(on B cor status --json | jq '.tasks[0].pid')
	wait_for 5 gone B "$there" || fail "it runs on B as well"
	rounds 3
	finish
	lab_end
	;;
doubt)
	lab_hold commit
	lab_up
	begin
	await_held commit
	on A ip link set eth0 down
	lab_release commit
	await_session A source in-doubt
	status=0
	on A cor resolve "$(session_id A)" >"$LAB_DIR/said" 2>&1 || status=$?
	[ $status -eq 1 ] || fail "cor resolve without --peer-is-dead: exit status $status"
	grep -q 'peer-is-dead' "$LAB_DIR/said" || fail "no word of --peer-is-dead"
	on A cor resolve "$(session_id A)" --peer-is-dead --json >"$LAB_DIR/said" ||
		fail "cor resolve failed"
	jq -e '.state == "aborted"' "$LAB_DIR/said" >/dev/null || fail "it does not say aborted"
	status=0
	wait $mover || status=$?
	[ $status -eq 1 ] || fail "cor migrate: exit status $status"
	rounds 3
	on A ip link set eth0 up
	await_session B destination aborted
	rounds 3
	finish
	lab_end
	;;
source)
	lab_up
	begin --no-prefetch --wait resumed
	wait $mover || fail "cor migrate: exit status $?"
	there=$(result .destination_pid)
	on A ip link set eth0 down
	await_session B destination detached
	on B cor resolve "$(session_id B)" --peer-is-dead --json >"$LAB_DIR/said" ||
		fail "cor resolve failed"
	wait_for 5 gone B "$there" || fail "the task still runs on B"
	jq -e '.state == "lost" and .pages_missing > 10000 and (.missing | length) > 0' \
		"$LAB_DIR/said" >/dev/null || { cat "$LAB_DIR/said"; fail "it does not say what was missing"; }
	on B cor status --json | jq -er '.sessions[0].error' | grep -q 'missing are [0-9]* pages: ' ||
		fail "cor status does not say what was missing"
	grep -q 'missing are' "$LAB_DIR/B/cord.err" || fail "the log does not say what was missing"
	on A ip link set eth0 up
	await_session A source lost
	lab_end
	;;
destination)
	lab_up
	begin --no-prefetch --wait resumed
	wait $mover || fail "cor migrate: exit status $?"
	on B ip link set eth0 down
	await_session A source detached
	on A cor resolve "$(session_id A)" --peer-is-dead >"$LAB_DIR/said"
	await_session A source lost
	wait_for 5 gone A "$TASK_PID" || fail "the ghost is still on A"
	# B lives after all: its copy is not to run on
	on B ip link set eth0 up
	await_session B destination lost
	wait_for 5 gone B "$(result .destination_pid)" || fail "the task runs on"
	lab_end
	;;
refused)
	lab_hold prepared
	lab_up
	begin
	await_held prepared
	status=0
	on A cor resolve "$(session_id A)" --peer-is-dead >"$LAB_DIR/said" 2>&1 || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	grep -q 'cor cancel ends it' "$LAB_DIR/said" || fail "no word of cor cancel"
	lab_release prepared
	wait $mover || fail "cor migrate: exit status $?"
	TASK_HOST=B
	TASK_PID=$(result .destination_pid)
	status=0
	on B cor resolve "$(session_id B)" --peer-is-dead >"$LAB_DIR/said" 2>&1 || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	grep -q 'ended already' "$LAB_DIR/said" || fail "no word of its end"
	finish
	lab_end
	;;
esac
