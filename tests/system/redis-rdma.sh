# A redis-server goes over RDMA, its pages only as it touches them: the same digest, and the
# processor time of the page server meanwhile, one-sided and staged.
# timeout: 300
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../servers.sh"
export COR_TEST_TRANSPORT=${COR_TEST_TRANSPORT:-verbs}
case $COR_TEST_TRANSPORT in
verbs|fabric:verbs*) ;;
*) skip "$COR_TEST_TRANSPORT has no one-sided demand" ;;
esac
need redis-server redis-cli
need_transport "$COR_TEST_TRANSPORT"
lab_up

# Of the page server on A, in milliseconds: user and system.
server_cpu()
{
	local pid

	pid=$(on A pgrep -n -x cord-server) || fail "no page server on A"
	on A awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$pid/stat"
}

session()
{
	on "$1" cor status --json | jq -r ".sessions[] | select(.state == \"paging\") | $2"
}

is_over()
{
	! on A pgrep -x cord-server >/dev/null
}

faults_seen()
{
	[ "$(session B '.faults // 0')" -ge "$1" ]
}

# visit WAY [OPTION...]: a server of its own moves to B, is read there as a whole, and ends.
visit()
{
	local way=$1 digest before after pid
	shift

	redis_start A || fail "redis-server does not answer"
	pid=$SPAWNED
	redis_fill A $((${COR_TIME_SCALE:-1} > 1 ? 16 : 256))
	digest=$(redis A DEBUG DIGEST)
	migrate A "$pid" B --no-prefetch --wait resumed "$@" || {
		cat "$LAB_DIR/migrate.err" >&2
		fail "cor migrate"
	}
	[ "$(result .transport)" = "$COR_TEST_TRANSPORT" ] || fail "it went over $(result .transport)"
	before=$(server_cpu)
	[ "$(redis B DEBUG DIGEST)" = "$digest" ] || fail "$way: another digest on B"
	wait_for 10 faults_seen 100 || fail "$way: hardly anything was paged"
	after=$(server_cpu)
	echo "$COR_TEST_TRANSPORT, $way: $(session B .faults) faults," \
		"$(session B '.pages_one_sided') pages one-sided," \
		"$((after - before)) ms of the page server's processor time," \
		"$(session A '.pinned_max // 0') bytes pinned"
	cpu=$((after - before))
	one_sided=$(session B '.pages_one_sided')
	[ "$(redis B DEBUG DIGEST)" = "$digest" ] || fail "$way: another digest on B, later"
	redis B SHUTDOWN NOSAVE || :
	wait_for 10 gone B "$MOVED" || fail "redis does not end"
	wait_for 10 is_over || fail "the page server does not end"
}

visit staged --without one-sided
staged=$cpu
[ "$one_sided" = 0 ] || fail "pages were read one-sided"
visit one-sided
[ "$one_sided" -gt 100 ] || fail "only $one_sided pages were read one-sided"
[ $((cpu * 2)) -le "$staged" ] || [ "$staged" -lt 100 ] ||
	fail "the page server was as busy as if it had answered"
lab_end
