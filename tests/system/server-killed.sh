# cases
# The processes at the source are killed. The serving part: before COMMIT the task goes on
# where it was; behind it another one goes on. The tracer, by which the frozen task lives:
# before that is frozen for good the task goes on; behind it the task is lost, and both
# sides say so at once.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' server-{lanes,frozen,image-sent,paging,doubt,often,moved,released} \
		tracer-{prepared,frozen,image-sent,ready,commit-sent,paging,cord}
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need_fault_points
who=${1%%-*} at=${1#*-}
LAB_CONFIG='[timeouts]
silence-s = 2'

kill_server()
{
	local pid

	wait_for 10 on A pgrep -x -r R,S,D cord-server >/dev/null || fail "no page server on A"
	pid=$(on A pgrep -n -x -r R,S,D cord-server)
	on A kill -KILL "$pid"
	# it is dead before the tracer goes on; another one may be there at once
	wait_for 10 is_dead "$pid" || fail "the page server does not die"
}

is_dead()
{
	! on A grep -qs '^State:.[RSD]' "/proc/$1/status"
}

begin()
{
	start A pattern 64
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json $how \
		</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	mover=$!
}

# reports STATUS: cor migrate's, whose result says what happened.
reports()
{
	local status=0

	wait $mover || status=$?
	[ $status -eq $1 ] || { cat "$LAB_DIR/migrate.err" >&2; fail "cor migrate: exit status $status"; }
}

how='' expect=moved
case $1 in
server-lanes|server-frozen|server-image-sent)
	expect=stayed
	lab_hold $at
	lab_up
	begin
	await_held $at
	kill_server
	lab_release $at
	;;
server-moved|server-released)
	lab_hold $at
	lab_up
	begin
	await_held $at
	on A kill -KILL "$HELD"
	;;
server-doubt)
	# nobody has heard RESUMED, and who asks is killed
	lab_hold commit
	lab_up
	begin
	await_held commit
	on A ip link set eth0 down
	lab_release commit
	await_session A source in-doubt
	kill_server
	on A ip link set eth0 up
	expect=stayed
	;;
server-paging|server-often)
	how='--no-prefetch --wait resumed'
	lab_up
	begin
	reports 0
	[ $at = paging ] || for i in 1 2 3 4 5; do
		kill_server
		sleep 0.$i
	done
	kill_server
	;;
tracer-prepared|tracer-frozen|tracer-image-sent)
	expect=stayed
	lab_hold $at
	lab_up
	begin
	await_held $at
	on A kill -KILL "$HELD"
	;;
tracer-ready)
	# right behind the moment from which the task dies with its tracer
	expect=lost
	lab_hold ghost
	lab_up
	begin
	await_held ghost
	on A kill -KILL "$HELD"
	;;
tracer-commit-sent)
	expect=lost
	lab_hold commit-sent
	lab_up
	begin
	await_held commit-sent
	on A kill -KILL "$HELD"
	;;
tracer-paging|tracer-cord)
	expect=lost
	how='--no-prefetch --wait resumed'
	lab_up
	begin
	reports 0
	TASK_THERE=$(result .destination_pid)
	if [ $at = cord ]; then
		# nobody is left of the session but its page, which a new cord finds
		on A sh -c 'kill -KILL $(pgrep -x cord-source) $(pgrep -x cord-server) '"${LAB_CORD[A]}"
		wait_for 10 gone A "${LAB_CORD[A]}"
		lab_cord A
	else
		on A pkill -KILL -x cord-source
	fi
	;;
esac

case $expect in
moved)
	wait $mover || :
	[ $at != paging ] && [ $at != often ] && reports 0
	TASK_HOST=B
	TASK_PID=$(result .destination_pid)
	rounds 3
	go A
	rounds 3
	finish
	;;
stayed)
	reports 1
	await_session A source aborted
	rounds 3
	finish
	;;
lost)
	[ -n "$how" ] || reports 3
	await_session A source lost
	[ $at = ready ] || await_session B destination lost 10
	wait_for 5 gone A "$TASK_PID" || fail "the ghost is still on A"
	[ -z "$how" ] || wait_for 5 gone B "$TASK_THERE" || fail "the task runs on without its pages"
	before=$(beat)
	sleep 0.3
	[ "$(beat)" = "$before" ] || fail "the task runs on"
	;;
esac
lab_end
