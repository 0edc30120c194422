# cases
# Each mechanism of what leads home, switched off for one migration and by the destination's
# configuration: what needs it is refused by its name before the freeze and goes on where it
# is; what needs the others moves as ever.
# timeout: 60
if [ "${1:-}" = --cases ]; then
	printf '%s\n' pump terminals home stand-in
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../pump.sh"
. "$(dirname "$0")/../tmux.sh"
mechanism=$1

# refused PATTERN [OPT...]: nothing was frozen.
refused()
{
	local pattern=$1 status=0

	shift
	migrate A "$TASK_PID" B "$@" || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	result .error | grep -qE "$pattern" || fail "the error is: $(result .error)"
	[ "$(result .freeze_us)" = null ] || fail "it was frozen before it was refused"
	echo "refused: $(result .error)"
}

off_at_B()
{
	on B kill -TERM "${LAB_CORD[B]}"
	wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord does not end"
	LAB_CONFIG="[mechanisms]
$mechanism = no" lab_cord B
	lab_mark
}

# The pipeline's middle moves without the mechanism, and its bytes go on.
pipeline_moves()
{
	pipeline A
	flow B
	rounds 3
	flow A
	rounds 3
	pipeline_end
}

this="needs the mechanism $mechanism, which this migration goes without"
there="needs the mechanism $mechanism, which B does not have or has switched off"
case $mechanism in
pump)
	lab_up
	pipeline A
	refused "^descriptor [01] .*$this" --without pump
	rounds 3
	off_at_B
	refused "^descriptor [01] .*$there"
	rounds 3
	pipeline_end
	# files, events, sockets and all else
	TASK=
	start A files
	go B
	rounds 3
	finish
	;;
terminals)
	lab_up
	terminal A 'exec python3 -q'
	prompt '>>>'
	TASK_HOST=A
	TASK_PID=$(on A pgrep -x python3)
	refused "^descriptor [0-2] .*$this" --without terminals
	keys '40 + 2' Enter
	shows 42
	off_at_B
	refused "^descriptor [0-2] .*$there"
	keys '40 + 3' Enter
	shows 43
	on A tmux -S "$LAB_DIR/tmux" kill-server
	pipeline_moves
	;;
home)
	LAB_ROOT=own
	lab_up
	on A mkdir -p /srv/job
	start_in A /srv/job files regular
	refused "/srv/job" --without home
	rounds 3
	off_at_B
	refused "/srv/job"
	rounds 3
	finish_in A
	pipeline_moves
	;;
stand-in)
	# nothing needs it: the parent is told that the task was killed, and it goes on
	lab_up
	off_at_B
	# shellcheck disable=SC2016
	spawn A parent bash -c 'threads -p "$1" >"$1.out" & echo $! >"$1.pid"; wait $!; echo "status $?"' \
		parent "$LAB_DIR/A/threads.beat"
	wait_for 20 test -s "$LAB_DIR/A/threads.beat" || fail "threads does not begin"
	TASK=threads
	TASK_HOST=A
	TASK_OUT=$LAB_DIR/A/threads
	TASK_PID=$(<"$TASK_OUT.beat.pid")
	touch "$TASK_OUT.out" "$TASK_OUT.err"
	go B
	wait_for 10 grep -q 'status 137' "$LAB_DIR/A/parent.out" ||
		fail "the parent is told: $(cat "$LAB_DIR/A/parent.out")"
	rounds 3
	on B kill -TERM "$TASK_PID"
	wait_for 10 gone B "$TASK_PID" || fail "threads does not end"
	grep '^ok threads' "$TASK_OUT.beat.out" || fail "$(cat "$TASK_OUT.beat.out")"
	pipeline_moves
	;;
esac
lab_end
