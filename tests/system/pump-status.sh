# cor status tells what a task leads to on another host, and how much has flown; cor settle
# cannot bring other processes along, and says so; at home nothing of that is left.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../pump.sh"
lab_up
pipeline A
flow B
rounds 20
# two pipes and the shell that waits
tied()
{
	on B cor status --json | jq -e --argjson pid "$TASK_PID" '.tasks[] | select(.pid == $pid) |
		.needs[] | select(.what == "processes" and .host == "A" and .connected and
				  .bytes_received > 1000 and .bytes_sent > 1000) |
		(.leads_to | index("parent")) != null and (.leads_to | length) == 3' >/dev/null
}
wait_for 10 tied || fail "the status is: $(on B cor status --json)"
on B cor status | grep -q 'processes of A: .*pipe:.* ([0-9.]* [KMG]*i*B)' ||
	fail "cor status prints: $(on B cor status)"
on B cor status | head -n 2
on B cor settle "$TASK_PID" | tee "$LAB_DIR/settled"
grep -q "needs nothing that could be brought here, but leads to other processes:" \
	"$LAB_DIR/settled" || fail "cor settle does not say what remains"
grep -q '^  processes of A: .*pipe:.* ([0-9.]* [KMG]*i*B)$' "$LAB_DIR/settled" ||
	fail "cor settle does not say what the pumps carry"
rounds 3
flow A
free_of_ties()
{
	on A cor status --json | jq -e --argjson pid "$TASK_PID" \
		'.tasks[] | select(.pid == $pid) | .needs == []' >/dev/null
}
wait_for 10 free_of_ties || fail "the status is: $(on A cor status --json)"
# its pumps are there still, on one host
pumped_here()
{
	on A cor settle --json "$TASK_PID" >"$LAB_DIR/settled" &&
		jq -e '.remains | length == 1 and (.[0] | .host == "A" and .connected and
			(.leads_to | length) == 3 and .bytes_sent > 1000)' "$LAB_DIR/settled" >/dev/null
}
wait_for 5 pumped_here || fail "cor settle at home says $(cat "$LAB_DIR/settled")"
rounds 3
pipeline_end
lab_end
