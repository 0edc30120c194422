# On a terminal cor migrate shows a progress bar, and says at the end what it did.
. "$(dirname "$0")/../tasks.sh"
need script
lab_up
start A pattern 256
on A script -qec "stty cols 100 rows 24; cor migrate $TASK_PID ${LAB_ADDR[B]}:$LAB_PORT" "$LAB_DIR/typescript" \
	</dev/null >/dev/null || { cat "$LAB_DIR/typescript" >&2; fail "cor migrate"; }
grep -q '\[#' "$LAB_DIR/typescript" || { cat "$LAB_DIR/typescript" >&2; fail "no bar"; }
grep -q '100 %\|100%' "$LAB_DIR/typescript" || {
	cat "$LAB_DIR/typescript" >&2
	fail "the bar does not reach its end"
}
pid=$(on B cor ps --json | jq -r '[.. | .pid? | numbers] | first')
TASK_HOST=B TASK_PID=$pid
rounds 3
finish
lab_end
