# The daemon of the host where a task has arrived ends and is started again: the
# task does not notice, and can be moved on.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A threads
go B
on B kill -TERM "${LAB_CORD[B]}"
wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord on B does not end"
rounds 3
on B rm -f /run/cor/cord.sock
lab_cord B
go A
rounds 3
finish
