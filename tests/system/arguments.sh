# What cor migrate is given wrongly is named, and the task is not touched.
. "$(dirname "$0")/../tasks.sh"
lab_up A
start A plain
# refuses WORDS ARG...
refuses()
{
	local words=$1 status=0

	shift
	on A cor migrate "$@" >"$LAB_DIR/out" 2>&1 || status=$?
	[ $status -eq 1 ] || fail "cor migrate $* exits with $status: $(cat "$LAB_DIR/out")"
	grep -qF -- "$words" "$LAB_DIR/out" || fail "cor migrate $* says: $(cat "$LAB_DIR/out")"
}
for n in 0 -1 101 x 3x ''; do
	refuses "--attempts takes a number from 1 to 100, not \"$n\"" --attempts "$n" "$TASK_PID" B
done
refuses '--wait takes "resumed" or "drained", not "x"' --wait x "$TASK_PID" B
refuses '"x" is not the number of a process' x B
refuses 'DEST is empty' "$TASK_PID" ''
refuses 'migrate takes PID and DEST' "$TASK_PID"
! on A cor status --json | jq -e '.sessions[]' >/dev/null || fail "there is a session"
rounds 2
finish
lab_end
