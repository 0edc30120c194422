# A connection whose address stays, where the mechanism that would forward it is off, for
# one migration or at the destination: refused by name before the freeze, and it goes on.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"

# refused MECHANISM WHY [OPT...]
refused()
{
	local mechanism=$1 why=$2 status=0

	shift 2
	migrate A "$TASK_PID" B "$@" || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	result .error | grep -q "^descriptor .* is a TCP connection from ${LAB_ADDR[A]}:7000 to ${LAB_ADDR[C]}:.* needs the mechanism $mechanism, which $why" ||
		fail "the error is: $(result .error)"
	[ "$(result .freeze_us)" = null ] || fail "it was frozen before it was refused"
	visit_rounds 3
}

visit_start echo 10.123.0.1
refused forward "this migration goes without" --without forward
refused pump "this migration goes without" --without pump
on B kill -TERM "${LAB_CORD[B]}"
wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord does not end"
LAB_CONFIG="[mechanisms]
forward = no" lab_cord B
lab_mark
refused forward "B does not have or has switched off"
visit_finish
lab_end
