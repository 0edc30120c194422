# cases
# Faults that no page server answers: the destination reads the frozen task's memory by RDMA.
# No more of it is pinned than permitted; and whatever happens to that way, no page is wrong.
# timeout: 180
if [ "${1:-}" = --cases ]; then
	printf '%s\n' reads bound drains server-killed cut without off
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
export COR_TEST_TRANSPORT=${COR_TEST_TRANSPORT:-verbs}
case $COR_TEST_TRANSPORT in
verbs|fabric:verbs*) ;;
*) skip "$COR_TEST_TRANSPORT has no one-sided demand" ;;
esac
need_transport "$COR_TEST_TRANSPORT"
mib=48

# leave_lazily [OPTION...]: the task goes to B, its pages only as they are touched.
leave_lazily()
{
	start A pattern $mib
	rounds 1
	migrate A "$TASK_PID" B --no-prefetch --wait resumed "$@" || {
		cat "$LAB_DIR/migrate.err" >&2
		fail "cor migrate --no-prefetch"
	}
	TASK_HOST=B TASK_PID=$MOVED
}

# session HOST FILTER: of its one session
session()
{
	on "$1" cor status --json | jq -r ".sessions[0] | $2"
}

has_read()
{
	[ "$(session B '.pages_one_sided // 0')" -gt "$1" ]
}

is_one_sided()
{
	[ "$(session A .one_sided)" = true ] && [ "$(session B .one_sided)" = true ] || {
		on A cor status --json >&2
		fail "there is no one-sided demand"
	}
	wait_for 30 has_read "${1:-100}" || {
		on B cor status --json >&2
		fail "no pages are read one-sided"
	}
}

case $1 in
reads)
	lab_up
	leave_lazily
	is_one_sided
	;;
bound)
	LAB_CONFIG='[paging]
rdma-pin-mib = 6'
	lab_up
	leave_lazily
	is_one_sided
	rounds 2
	echo "pinned: $(session A .pinned) bytes, at the most $(session A .pinned_max)"
	[ "$(session A .pinned_max)" -gt 0 ] || fail "nothing was ever pinned"
	[ "$(session A .pinned_max)" -le $((6 << 20)) ] || fail "more was pinned than permitted"
	;;
drains)
	# faults while all else comes: and nothing is left of it
	lab_up
	lab_mark
	start A pattern $mib
	rounds 1
	go B
	result '"one-sided: \(.pages_one_sided) of \(.pages_demand) pages on demand"'
	[ "$(result .one_sided)" = true ] || fail "cor migrate says nothing of one-sided demand"
	rounds 2
	go A
	;;
server-killed)
	lab_up
	leave_lazily
	is_one_sided 1
	on A pkill -KILL -x cord-server
	;;
cut)
	LAB_CONFIG='[timeouts]
silence-s = 2'
	lab_up
	leave_lazily
	is_one_sided 1
	cut B 8
	;;
without)
	lab_up
	leave_lazily --without one-sided
	[ "$(session A .one_sided)" = false ] || fail "it was to go without one-sided demand"
	;;
off)
	LAB_CONFIG='[mechanisms]
one-sided = no'
	lab_up
	leave_lazily
	[ "$(session A .one_sided)" = false ] || fail "it is switched off"
	;;
esac
rounds 3
finish
lab_end
