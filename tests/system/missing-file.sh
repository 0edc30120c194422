# A file that the destination does not have, and that does not stay at home either, is
# named before the freeze.
. "$(dirname "$0")/../tasks.sh"
lab_up
# /run is not common to the hosts.
# shellcheck disable=SC2016
on A sh -c 'echo data >/run/only-on-A'
TASK=plain TASK_HOST=A TASK_OUT=$LAB_DIR/A/plain
spawn A plain sh -c 'exec plain -p "$1" 9</run/only-on-A' sh "$TASK_OUT.beat"
TASK_PID=$SPAWNED
wait_for 10 test -s "$TASK_OUT.beat"
status=0
migrate A "$TASK_PID" B --without home || status=$?
[ $status -eq 1 ] || fail "exit status $status instead of 1"
cat "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" | grep -q /run/only-on-A ||
	fail "the error does not name the file"
rounds 3
finish
on A rm /run/only-on-A
lab_end
