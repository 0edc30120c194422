# Destinations that cannot be reached or cannot be right: exit status 1, the task
# goes on.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A plain

# refused DEST|PID WHAT: the words that the error must hold.
refused()
{
	local status=0

	on A cor migrate "$1" "$2" >"$LAB_DIR/said" 2>&1 </dev/null || status=$?
	[ $status -eq 1 ] || { cat "$LAB_DIR/said" >&2; fail "$2: exit status $status"; }
	grep -q -- "$3" "$LAB_DIR/said" || { cat "$LAB_DIR/said" >&2; fail "no word of $3"; }
	rounds 3
}

refused "$TASK_PID" 10.123.0.2:9 10.123.0.2
refused "$TASK_PID" nowhere nowhere
refused 99999 10.123.0.2:7474 99999
refused "${LAB_CORD[A]}" 10.123.0.2:7474 "${LAB_CORD[A]}"
finish
lab_end
