# The control channel is lost when the last page has come: the source is told again, and
# the session ends well on both sides.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need_fault_points
export COR_FAULT=drained:cut
lab_up
start A pattern 64
go B
await_session B destination released
session_is A source released || fail "the session on A has not ended well"
grep -q 'has connected again' "$LAB_DIR/B/cord.err" || fail "nothing was cut"
rounds 3
finish
lab_end
