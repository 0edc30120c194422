# A task whose files are at its home, and its address too, is settled: the files are copied,
# and what its pump carries is told, for that remains.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
VISIT=udp
LAB_ROOT=own
visit_start echo 10.123.0.1
go B
visit_rounds 5
on B cor settle "$TASK_PID" --json >"$LAB_DIR/settled" || fail "cor settle: $(cat "$LAB_DIR/settled")"
TASK_PID=$(jq -e .destination_pid "$LAB_DIR/settled") || fail "$(cat "$LAB_DIR/settled")"
jq -e '.freeze_us > 0 and (.remains | length) == 1 and (.remains[0] | .what == "processes" and
	.host == "A" and .leads_to == ["UDP 10.123.0.1:7000"])' "$LAB_DIR/settled" >/dev/null ||
	fail "cor settle says $(cat "$LAB_DIR/settled")"
visit_rounds 5
told()
{
	on B cor settle "$TASK_PID" >"$LAB_DIR/settled" 2>&1 &&
		grep -q '^  processes of A: UDP 10.123.0.1:7000 ([0-9.]* [KMG]*i*B)$' "$LAB_DIR/settled"
}
wait_for 5 told || fail "cor settle does not say what the pump carries: $(cat "$LAB_DIR/settled")"
cat "$LAB_DIR/settled"
visit_finish
lab_end
