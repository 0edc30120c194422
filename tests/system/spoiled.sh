# cases
# The network spoils bytes, or is slow. Pages that come wrong are fetched again and
# never installed; a message that comes wrong ends the migration before COMMIT, and the
# task goes on where it was.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' pages control slow
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
over_tcp 'it is the bytes of TCP that are spoilt'
grep -qa 'COR_STREAM_FAULT' "$COR_BUILD/cord" ||
	skip "this build has no fault points (--enable-fault-points)"

case $1 in
pages)
	# again and again: several demand pages, some runs in bulk, whole lanes lost
	export COR_STREAM_FAULT=demand:corrupt@3000+30000,bulk:corrupt@500000+3000000
	lab_up
	start A pattern 64
	go B
	jq -e '.pages_corrupt > 0' "$LAB_DIR/migrate.json" >/dev/null ||
		fail "no page is counted as spoiled"
	wait_for 5 grep -q 'came spoiled' "$LAB_DIR/B/cord.err" || fail "cord does not tell"
	rounds 3
	;;
control)
	export COR_STREAM_FAULT=control:corrupt@1500
	lab_up
	start A pattern 16
	status=0
	migrate A "$TASK_PID" B || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	grep -q 'was spoiled on its way' "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" ||
		fail "no word of why"
	rounds 3
	;;
slow)
	export COR_STREAM_FAULT=all:delay=3000
	lab_up
	start A pattern 16
	go B
	jq -e '.fault_us.p50 == 0 or .fault_us.p50 > 3000' "$LAB_DIR/migrate.json" >/dev/null ||
		fail "faults are faster than the network"
	rounds 3
	;;
esac
finish
lab_end
