# The cable is out while pages are on their way over another transport: faults wait, then
# go on over tcp, which is said, and no page is wrong.
# timeout: 180
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
export COR_TEST_TRANSPORT=${COR_TEST_TRANSPORT:-fabric:tcp}
LAB_CONFIG='[timeouts]
silence-s = 2'
need_transport "$COR_TEST_TRANSPORT"
lab_up
start A pattern 256
leave A B
rounds 1

# goes_over TRANSPORT: as A, which has the pages, says
goes_over()
{
	on A cor status --json | jq -e --arg t "$1" \
		'.sessions[] | select(.role == "source" and .transport == $t)' >/dev/null
}
goes_over "$COR_TEST_TRANSPORT" || fail "the pages do not go over $COR_TEST_TRANSPORT"
cut B 8
wait_for 30 goes_over tcp || {
	on A cor status >&2
	fail "the pages do not go over tcp"
}
on A cor status --json | jq -r '.sessions[].warnings[]?' |
	grep -q "^the lanes of the transport $COR_TEST_TRANSPORT were lost" ||
	fail "nothing is said of the lanes of $COR_TEST_TRANSPORT"
rounds 1
comes_back B A
rounds 3
finish
lab_end
