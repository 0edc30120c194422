# The filter moves on to a third host while its pipes stay on the first: the host in
# between is not needed any more.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../pump.sh"
lab_up A B C
pipeline A
flow B
rounds 10
flow C
on B kill -TERM "${LAB_CORD[B]}"
wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord on B does not end"
! on B pgrep -f cord >&2 || fail "B still takes part"
rounds 20
pipeline_end
