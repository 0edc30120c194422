# cor_on_migrate(): a program under cor run is told before it leaves, and when it
# has arrived; the second move needs no registration from the first host.
. "$(dirname "$0")/../tasks.sh"

# said LINE: the program has printed it.
said()
{
	grep -qx "$1" "$TASK_OUT.out"
}

lab_up
TASK=hooks TASK_HOST=A TASK_OUT=$LAB_DIR/A/hooks
spawn A hooks cor run -- "$COR_BUILD/tests/unit/preload_victim" stay
TASK_PID=$SPAWNED
wait_for 10 said ready || { cat "$TASK_OUT.err" >&2; fail "cor run did not begin"; }
go B
wait_for 5 said "after second 1 1" || fail "the hooks were not run on arrival"
said "before second" && said "before first" || fail "the hooks were not run before leaving"
go A
wait_for 5 said "after second 1 2" || fail "the hooks were not run on the way back"
[ "$(grep -c '^before' "$TASK_OUT.out")" -eq 4 ] || fail "not every hook ran once a move"
! grep -q '^after .* 0 ' "$TASK_OUT.out" || fail "an arrival was taken for a cancellation"
on A kill -KILL "$TASK_PID"
lab_end
