# cases
# A connection whose address stays, where the mechanism that would forward it is off, for
# one migration or at the destination: refused by name before the freeze, and it goes on.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' tcp udp udp-bound
	exit 0
fi

# refused MECHANISM WHY [OPT...]
refused()
{
	local mechanism=$1 why=$2 status=0 pattern

	shift 2
	migrate A "$TASK_PID" B "$@" || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	case $what in
	bound) pattern="descriptor .*: the address ${LAB_ADDR[A]}:7000 (UDP) cannot be had here" ;;
	*) pattern="^descriptor .* is a $what from ${LAB_ADDR[A]}:.* to ${LAB_ADDR[C]}:.* needs the mechanism $mechanism, which $why" ;;
	esac
	result .error | grep -q "$pattern" || fail "the error is: $(result .error)"
	[ "$(result .freeze_us)" = null ] || fail "it was frozen before it was refused"
	visit_rounds 3
}

case $1 in
tcp)       what="TCP connection" kind=echo ;;
udp)       what="UDP socket" kind=client VISIT=udp ;;
udp-bound) what=bound kind=echo VISIT=udp ;;
esac
visit_start "$kind" 10.123.0.1
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
