# cases
# The connection is lost right before or right behind COMMIT. The source asks until it
# knows: unseen, the task goes on here; seen, it goes on there; never both. As long as
# nobody can tell it waits.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' seen unseen unnoticed unknown
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
grep -qa 'commit-sent' "$COR_BUILD/cord" ||
	skip "this build has no fault points (--enable-fault-points)"

case $1 in
seen)
	export COR_FAULT=commit-sent:cut
	lab_up
	start A pattern 64
	go B
	rounds 3
	finish
	;;
unseen|unnoticed)
	# unnoticed: B still waits on the old connection when A asks
	[ "$1" = unseen ] && how="cut" || how="silence"
	export COR_FAULT=commit:$how
	lab_up
	start A pattern 64
	status=0
	migrate A "$TASK_PID" B || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	grep -q 'the commit did not arrive' "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" ||
		fail "no word of why"
	session_is A source aborted || fail "the session is not aborted"
	rounds 3
	finish
	;;
unknown)
	# B's worker dies behind READY, so that nobody there knows what it did: the task is
	# neither thawed nor given up
	export COR_FAULT=ready-sent:kill
	lab_up
	start A pattern 64
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --wait resumed \
		</dev/null >"$LAB_DIR/said" 2>&1 &
	await_session A source in-doubt
	before=$(beat)
	sleep 2         # several questions
	session_is A source in-doubt || fail "the session is no longer in doubt"
	alive A "$TASK_PID" || fail "the ghost is gone"
	[ "$(beat)" = "$before" ] || fail "the task runs although its session is in doubt"
	exit 0
	;;
esac
lab_end
