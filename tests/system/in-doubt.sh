# cases
# The connection is lost right before or right behind COMMIT. The source asks until it
# knows: unseen, the task goes on here; seen, it goes on there; never both. As long as
# nobody can tell it waits.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' seen unseen unnoticed dead unreachable
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need_fault_points

# not_moved: cor migrate has failed, and said so; the task is where it was.
not_moved()
{
	[ "$1" -eq 1 ] || fail "exit status $1 instead of 1"
	grep -q 'the commit did not arrive' "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" ||
		fail "no word of why"
	session_is A source aborted || fail "the session is not aborted"
}

case $1 in
seen)
	export COR_FAULT=commit-sent:cut
	lab_up
	start A pattern 64
	go B
	;;
unseen|unnoticed)
	# unnoticed: B still waits on the old connection when A asks
	[ "$1" = unseen ] && how="cut" || how="silence"
	export COR_FAULT=commit:$how
	lab_up
	start A pattern 64
	status=0
	migrate A "$TASK_PID" B || status=$?
	not_moved $status
	;;
dead)
	# B's worker dies behind READY, but before it let the task go, and its page says so
	export COR_FAULT=ready-sent:kill
	lab_up
	start A pattern 64
	status=0
	migrate A "$TASK_PID" B || status=$?
	not_moved $status
	;;
unreachable)
	# nobody answers: the task is neither thawed nor given up, until B is there again
	LAB_CONFIG='[timeouts]
	silence-s = 1'
	lab_hold commit
	lab_up
	start A pattern 64
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json \
		</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	mover=$!
	await_held commit
	on A ip link set eth0 down
	lab_release commit
	await_session A source in-doubt
	sleep 2         # several questions
	session_is A source in-doubt || fail "the session is no longer in doubt"
	alive A "$TASK_PID" || fail "the ghost is gone"
	on A ip link set eth0 up
	status=0
	wait $mover || status=$?
	not_moved $status
	;;
esac
rounds 3
finish
lab_end
