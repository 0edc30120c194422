# From A to B to C and back to A: a host that a task has left is not needed any more.
. "$(dirname "$0")/../tasks.sh"
lab_up A B C
start A pattern 32
go B
rounds 2
go C
# With B's daemon away the task neither notices nor minds.
on B kill -TERM "${LAB_CORD[B]}"
wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord on B does not end"
rounds 2
go A
rounds 2
finish
