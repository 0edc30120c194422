# cases
# What is not carried is refused by name, before the freeze; the task goes on.
. "$(dirname "$0")/../tasks.sh"
cases refuse "$@"
lab_up
start A refuse "$@"
status=0
migrate A "$TASK_PID" B || status=$?
cat "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" >"$LAB_DIR/said"
cat "$LAB_DIR/said" >&2
[ $status -eq 1 ] || fail "exit status $status instead of 1"
while read -r word text; do
	[ "$word" = name ] || continue
	grep -qE -- "$text" "$LAB_DIR/said" || fail "the error does not name $text"
done <"$TASK_OUT.out"
alive A "$TASK_PID" || fail "the task is gone"
rounds 10
finish
lab_end
