# cases
# cord is killed, on either side, while a session is in some state, and started again: it
# finds the session, the task and what is to be told about both, and the session goes on
# and ends as it would have.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' source-{prepare,freeze,doubt,paging,ended} \
		destination-{prepare,freeze,paging,drained,ended}
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need_fault_points
side=${1%-*} at=${1#*-}
declare -A host=([source]=A [destination]=B)

# kill_cord HOST: and starts it again.
kill_cord()
{
	on "$1" kill -KILL "${LAB_CORD[$1]}"
	wait_for 10 gone "$1" "${LAB_CORD[$1]}" || fail "cord on $1 cannot be killed"
	lab_cord "$1"
}

session_goes_on()
{
	session_is B destination paging || session_is B destination released
}

task_is_told()
{
	TASK_PID=$(on B cor status --json |
		jq -e '[.tasks[] | select(.state == "running")][0].pid')
}

# A task that started on A is none of cord's there.
end_is_told()
{
	[ $arrived = A ] || on $TASK_HOST cor status --json |
		jq -e '[.tasks[] | select(.state == "exited")] | length > 0' >/dev/null
}

# Where the worker is held meanwhile. Held it does not answer its new cord, so that this
# has to tell the state from the directory.
case $1 in
source-prepare) point=prepared state=prepare ;;
source-freeze) point=image-sent state=freeze ;;
source-doubt) point=commit state=commit ;;
destination-prepare) point=prepared-sent state=prepare ;;
destination-freeze) point=ready-sent state=freeze ;;
destination-drained) point=drained state=drained ;;
*) point='' ;;
esac
[ -z "$point" ] || lab_hold $point
lab_up
start A pattern 64
on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json \
	$([ $at != paging ] || echo --no-prefetch --wait resumed) \
	</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
mover=$!

# Until the session has ended, from what the task's own host says.
arrived=B
case $at in
paging)
	wait $mover || fail "cor migrate: exit status $?"
	kill_cord ${host[$side]}
	await_session ${host[$side]} $side paging
	;;
ended)
	wait $mover || fail "cor migrate: exit status $?"
	kill_cord ${host[$side]}
	session_is ${host[$side]} $side released || fail "how the session ended is forgotten"
	;;
*)
	await_held $point
	kill_cord ${host[$side]}
	session_is ${host[$side]} $side $state || {
		on ${host[$side]} cor status >&2
		fail "the session is not in state $state"
	}
	lab_release $point
	;;
esac
status=0
wait $mover || status=$?
# the lanes came by way of the destination's cord, if it was there at that moment
if [ $1 = destination-prepare ] && wait_for 2 session_is A source aborted; then
	arrived=A
fi
if [ $arrived = B ]; then
	wait_for 10 session_goes_on || fail "B has no such session"
	wait_for 5 task_is_told || fail "B does not know the task"
	TASK_HOST=B
else
	TASK_HOST=A
fi
# cor migrate waited for the cord that was started anew
[ $status -eq $([ $arrived = A ] && echo 1 || echo 0) ] || {
	cat "$LAB_DIR/migrate.err" >&2
	fail "cor migrate: exit status $status"
}
rounds 3
[ $arrived = A ] || [ $at = ended ] || go A     # and all of its pages with it
rounds 3
finish
wait_for 5 end_is_told || { on $TASK_HOST cor status >&2; fail "its end was not told"; }
lab_end
