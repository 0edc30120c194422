# cases
# In the midst of a migration the task ends, is killed, is traced by somebody, executes another
# program, or the destination stalls: what can go on goes on where it was, and what has ended
# is told as that.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' exits killed traced executes executes-late executes-once killed-frozen killed-ghost killed-lazy stalls
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need_fault_points
LAB_CONFIG="[timeouts]
freeze-ms = 1000"

# departs POINT [OPT...]: a migration of the task, held there.
departs()
{
	local point=$1

	shift
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json "$@" </dev/null \
		>"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	mover=$!
	await_held "$point"
}

begins()
{
	lab_hold "$1"
	lab_up
	start A plain
	departs "$1"
}

# ends POINT STATUS TEXT: it goes on, and cor migrate says so.
ends()
{
	local status=0

	lab_release "$1"
	wait $mover || status=$?
	cat "$LAB_DIR/migrate.err"
	[ $status -eq "$2" ] || fail "cor migrate exits with $status: $(cat "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json")"
	[ -z "$3" ] || grep -q "$3" "$LAB_DIR/migrate.err" ||
		fail "it does not say \"$3\": $(cat "$LAB_DIR/migrate.err")"
}

nobody_left()
{
	local host

	for host in A B; do
		! on "$host" pgrep '^cord-' >/dev/null || return 1
	done
}

# It was not moved, and is well.
stays()
{
	rounds 2
	wait_for 10 nobody_left || fail "processes are left: $(on A pgrep -l '^cord-') $(on B pgrep -l '^cord-')"
	finish
	lab_end
}

task_gone()
{
	wait_for 10 gone A "$TASK_PID" || fail "PID $TASK_PID is still on A"
	! on B pgrep -x "$TASK" >/dev/null || fail "$TASK is on B"
	wait_for 10 nobody_left || fail "processes are left: $(on A pgrep -l '^cord-') $(on B pgrep -l '^cord-')"
	lab_end
}

is()
{
	[ "$(on A cat "/proc/$TASK_PID/comm")" = "$1" ]
}

# executes POINT [OPT...]
executes()
{
	local point=$1

	shift
	lab_hold "$point"
	lab_up
	spawn A executes python3 -c '
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
os.execvp("sleep", ["sleep", "1000"])' "$LAB_DIR/go"
	TASK_PID=$SPAWNED
	wait_for 10 is python3
	departs "$point" "$@"
	touch "$LAB_DIR/go"
	wait_for 10 is sleep || fail "it does not execute sleep"
}

executed_there()
{
	on B ps -o args= -p "$(result .destination_pid)" | grep -qx 'sleep 1000' ||
		fail "the new program is not on B"
	on B kill -KILL "$(result .destination_pid)"
	lab_end
}

case $1 in
exits)
	begins prepared
	on A kill -TERM "$TASK_PID"
	wait_for 10 gone A "$TASK_PID"
	ends prepared 1 "process $TASK_PID"
	tail -n 1 "$TASK_OUT.out" | grep -q '^ok ' || fail "$(tail -n 1 "$TASK_OUT.out")"
	task_gone
	;;
killed)
	begins lanes
	on A kill -KILL "$TASK_PID"
	ends lanes 1 "process $TASK_PID"
	task_gone
	;;
killed-frozen)
	# the frozen task has not been read
	begins frozen
	on A kill -KILL "$TASK_PID"
	ends frozen 1 "$TASK_PID"
	task_gone
	;;
killed-ghost)
	# COMMIT is not sent: the task, which has ended here, must not begin there
	begins ready
	on A kill -KILL "$TASK_PID"
	ends ready 1 "$TASK_PID"
	task_gone
	;;
killed-lazy)
	lab_up
	start A pattern 8
	leave A B
	on B kill -KILL "$TASK_PID"
	wait_for 10 gone B "$TASK_PID" || fail "it does not die"
	await_session A source released
	wait_for 10 gone A "$TASK_LEFT" || fail "the ghost is still on A"
	lab_end
	;;
traced)
	begins prepared
	# a tracer that only holds it
	# shellcheck disable=SC2016
	on A python3 -c '
import ctypes, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(0x4206, int(sys.argv[1]), 0, 0) != 0:
	sys.exit("seize: %d" % ctypes.get_errno())
print("seized", flush=True)
signal.pause()' "$TASK_PID" >"$LAB_DIR/tracer" 2>&1 &
	tracer=$!
	wait_for 10 grep -q seized "$LAB_DIR/tracer" || fail "$(cat "$LAB_DIR/tracer")"
	ends prepared 1 "is traced by process"
	rounds 2
	on A pkill -x python3
	wait $tracer || :
	stays
	;;
executes)
	# its memory was not looked at yet
	executes prepared
	ends prepared 0 ''
	executed_there
	;;
executes-late)
	# what was prepared is of no use: that is told, and it is prepared anew
	executes lanes
	ends lanes 0 "process $TASK_PID executed another program.*(attempt 1 of 3)"
	[ "$(result .attempts)" = 2 ] || fail "it took $(result .attempts) attempts"
	executed_there
	;;
executes-once)
	executes lanes --attempts 1
	ends lanes 1 "process $TASK_PID executed another program"
	on A kill -0 "$TASK_PID" || fail "it does not go on"
	on A kill -KILL "$TASK_PID"
	task_gone
	;;
stalls)
	begins image-heard
	on B kill -STOP "$HELD"
	# nobody lets it go on: the source must not wait for that
	ends nothing 1 'READY\|answer\|time'
	on B kill -CONT "$HELD"
	lab_release image-heard
	stays
	;;
esac
