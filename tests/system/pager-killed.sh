# cases
# The process that receives a task and pages for it is killed, at each of its steps: before
# it let the task go the task goes on where it was; behind that the task waits, another
# pager goes on, and only what is missing is fetched.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' prepared-sent image-heard rebuilt ready-sent commit-heard let-go \
		changed resumed-sent paging children often drained finished told pump
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
. "$(dirname "$0")/../pump.sh"
need_fault_points

# leave_a: moves the task to B, without waiting.
leave_a()
{
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json $how \
		</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	mover=$!
}

# begin PROGRAM [ARG...]
begin()
{
	start A "$@"
	leave_a
}

# kill_pager: the one on B, when it is there.
kill_pager()
{
	wait_for 10 on B pgrep -x cord-pager >/dev/null || fail "no pager on B"
	on B pkill -KILL -x cord-pager
}

# Between the task's first instruction there and the start of its pumps.
if [ "$1" = pump ]; then
	lab_hold let-go
	lab_up
	pipeline A
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json \
		</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	mover=$!
	await_held let-go
	on B kill -KILL "$HELD"
	wait $mover || fail "cor migrate: exit status $?: $(<"$LAB_DIR/migrate.err")"
	TASK_HOST=B
	TASK_PID=$(result .destination_pid)
	grep -q 'another one goes on' "$LAB_DIR/B/cord.err" || fail "nobody was killed"
	rounds 10
	pipeline_end
	lab_end
	exit 0
fi

arrived=B how='' status=0
case $1 in
prepared-sent|image-heard|rebuilt|ready-sent|commit-heard)
	arrived=A
	;&
let-go|resumed-sent|drained|finished|told)
	lab_hold $1
	lab_up
	begin pattern 64
	await_held $1
	on B kill -KILL "$HELD"
	;;
changed)
	# its files are others than were built ahead: that is begun anew
	need python3
	python=$(PATH=/usr/bin:$PATH command -v python3)
	lab_hold let-go
	lab_up
	start_foreign A rows "$python" "$LAB_TOP/tests/programs/rows.py" "$LAB_DIR/rows.db"
	leave_a
	await_held let-go
	on B kill -KILL "$HELD"
	;;
paging|children|often)
	how='--no-prefetch --wait resumed'
	lab_up
	case $1 in
	children)
		begin churn
		# on a slow machine it may have a child whenever somebody looks
		for i in 1 2 3 4 5; do
			! wait $mover && grep -q 'has a child' "$LAB_DIR/migrate.json" || break
			leave_a
		done
		;;
	*) begin pattern 64 ;;
	esac
	wait $mover || fail "cor migrate: exit status $?"
	kill_pager
	[ $1 != often ] || for i in 1 2 3 4 5 6 7 8; do
		sleep 0.$i
		kill_pager
	done
	;;
esac
wait $mover || status=$?
if [ $arrived = A ]; then
	[ $status -eq 1 ] || fail "cor migrate: exit status $status"
	await_session A source aborted
	await_session B destination aborted
	rounds 3
	finish
	lab_end
	exit 0
fi
[ $status -eq 0 ] || { cat "$LAB_DIR/migrate.err" >&2; fail "cor migrate: exit status $status"; }
TASK_HOST=B
TASK_PID=$(result .destination_pid)
rounds 3
grep -q 'another one goes on' "$LAB_DIR/B/cord.err" || fail "nobody was killed"
go A
rounds 3
finish
lab_end
