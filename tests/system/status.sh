# cor ps and cor status: the task is listed where it is, and no more where it was.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A plain
go B
on B cor ps --json >"$LAB_DIR/ps" || fail "cor ps --json"
jq -e --argjson pid "$TASK_PID" '.. | .pid? | select(. == $pid)' "$LAB_DIR/ps" >/dev/null || {
	cat "$LAB_DIR/ps" >&2
	fail "cor ps on B does not list PID $TASK_PID"
}
on B cor ps >/dev/null || fail "cor ps"
on A cor status --json | jq -e . >/dev/null || fail "cor status --json"
finish
lab_end
