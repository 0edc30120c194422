# cor run: a task under the preload library moves like any other.
. "$(dirname "$0")/../tasks.sh"
lab_up
TASK=plain TASK_HOST=A TASK_OUT=$LAB_DIR/A/plain
# The static one cannot be preloaded into.
spawn A plain cor run -- threads -p "$TASK_OUT.beat"
TASK_PID=$SPAWNED
wait_for 10 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "cor run did not begin"; }
on A grep -q libcor-preload "/proc/$TASK_PID/maps" || fail "the preload library is not there"
go B
rounds 3
go A
rounds 3
finish
lab_end
