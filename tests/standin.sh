# Tasks that someone waits for where they left, for system tests. Sourced after tasks.sh.

# child HOST PROGRAM [ARG...]: as start, but with a parent that waits (parent.py).
child()
{
	local host=$1 program=$2

	shift 2
	TASK=$program
	TASK_HOST=$host
	TASK_OUT=$LAB_DIR/$host/$program
	WAITS=$TASK_OUT.waits
	HOME_HOST=$host
	spawn "$host" "$program" python3 "$LAB_TOP/tests/programs/parent.py" "$WAITS" \
		"$program" -p "$TASK_OUT.beat" "$@"
	PARENT=$SPAWNED
	wait_for 30 test -s "$TASK_OUT.beat" || fail "$program did not begin"
	read -r HOME_PID <"$WAITS"
	TASK_PID=$HOME_PID
}

# heeding HOST: a child that tells the signals that it gets (heed.py), in HEARD.
heeding()
{
	local host=$1

	HEARD=$LAB_DIR/$host/heard
	TASK=heed
	TASK_HOST=$host
	TASK_OUT=$LAB_DIR/$host/heed
	WAITS=$TASK_OUT.waits
	HOME_HOST=$host
	spawn "$host" heed python3 "$LAB_TOP/tests/programs/parent.py" "$WAITS" \
		python3 "$LAB_TOP/tests/programs/heed.py" "$HEARD"
	PARENT=$SPAWNED
	wait_for 30 test -s "$HEARD" || fail "the child did not begin"
	read -r HOME_PID <"$WAITS"
	TASK_PID=$HOME_PID
}

# away TO [OPT...]: as go, but what was left has a stand-in.
away()
{
	local to=$1

	shift
	move "$TASK_HOST" "$TASK_PID" "$to" "$@"
	TASK_HOST=$to
	TASK_PID=$MOVED
	alive "$HOME_HOST" "$HOME_PID" || fail "nobody stands in for PID $HOME_PID on $HOME_HOST"
	alive "$to" "$TASK_PID" || fail "$TASK is not on host $to as PID $TASK_PID"
}

# waited TEXT: the parent has been told so.
waited()
{
	wait_for 10 grep -qx "$1" "$WAITS" || {
		cat "$WAITS" >&2
		on "$HOME_HOST" ps -eo pid,ppid,stat,wchan,args >&2
		on "$TASK_HOST" ps -eo pid,ppid,stat,wchan,args >&2
		fail "the parent is not told \"$1\""
	}
	: >"$WAITS"
}

# heard TEXT: the task has got that signal (a pattern).
heard()
{
	wait_for 10 grep -qE "^$1\$" "$HEARD" || {
		cat "$HEARD" >&2
		fail "signal $1 does not reach the task"
	}
}

# state HOST PID: the letter that ps shows.
is_in_state()
{
	[ "$(on "$1" ps -o stat= -p "$2" | cut -c1)" = "$3" ]
}
