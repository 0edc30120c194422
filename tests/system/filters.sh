# cases
# Seccomp filters are in force where the task arrives, and were not in the way of moving it.
. "$(dirname "$0")/../tasks.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' filter no-code threads sync without
	exit 0
fi
if [ "$1" = without ]; then
	lab_up
	start A filters filter
	! migrate A "$TASK_PID" B --without seccomp || fail "it went without its filters"
	grep -q "which has seccomp filters, needs the mechanism seccomp" "$LAB_DIR/migrate.err" ||
		fail "$(cat "$LAB_DIR/migrate.err")"
	[ "$(result .freeze_us)" = null ] || fail "it was refused in the freeze"
	rounds 3
	finish
	lab_end
	exit
fi
there_and_back filters "$@"
