# The connections of a session that pages are reset: first the control channel alone,
# then all of them, by either side. They are made anew, no page is wrong, and the
# session ends as it should.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need ss
lab_up
start A pattern 128
leave A B

# the control channel was connected first: its port is the lowest in B's log of peers
port=$(on B cor status --json | jq -r '.sessions[0].peer' | sed 's/.*://')
reset_connections A "( sport = :$port )"
[ "$RESET" -gt 0 ] || skip "connections cannot be reset (CONFIG_INET_DIAG_DESTROY)"
await_connections A 3
rounds 1
for host in A B A; do
	reset_connections $host
	[ "$RESET" -ge 3 ] || fail "$RESET connections instead of 3 were reset on $host"
	await_connections A 3
	rounds 1
done
comes_back B A
rounds 3
finish
lab_end
