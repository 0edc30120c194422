# Terminals under tmux, for system tests. Sourced after tasks.sh.
need tmux

TMUX_HOST=      # where the terminal is

# terminal HOST CMD: a terminal of 80 columns and 24 lines there, in which CMD runs.
terminal()
{
	TMUX_HOST=$1
	on "$1" tmux -S "$LAB_DIR/tmux" -f /dev/null new-session -d -x 80 -y 24 "$2"
}

# keys KEY...: as tmux send-keys has them.
keys()
{
	on "$TMUX_HOST" tmux -S "$LAB_DIR/tmux" send-keys "$@"
}

screen()
{
	on "$TMUX_HOST" tmux -S "$LAB_DIR/tmux" capture-pane -p | grep -v '^$'
}

has_line()
{
	screen | grep -qxF -- "$1"
}

# shows LINE [SECONDS]: a line of the screen, whole.
shows()
{
	wait_for "${2:-10}" has_line "$1" || {
		echo "--- the screen:" >&2
		screen >&2
		echo "--- processes:" >&2
		on "$TMUX_HOST" ps -eo pid,ppid,pgid,sid,tpgid,tty,stat,args >&2
		[ -z "$TASK_HOST" ] || on "$TASK_HOST" ps -eo pid,ppid,pgid,sid,tpgid,tty,stat,args >&2
		fail "the screen does not show \"$1\""
	}
}

ends_with()
{
	[ "$(screen | tail -n 1)" = "$1" ]
}

# prompt TEXT: the screen's last line.
prompt()
{
	wait_for "${2:-10}" ends_with "$1" || {
		screen >&2
		fail "there is no prompt \"$1\""
	}
}

# hop TO [OPT...]: moves TASK_PID; what it leaves at its terminal has a stand-in.
hop()
{
	local to=$1

	shift
	move "$TASK_HOST" "$TASK_PID" "$to" "$@"
	TASK_HOST=$to
	TASK_PID=$MOVED
}

terminal_end()
{
	on "$TMUX_HOST" tmux -S "$LAB_DIR/tmux" kill-server
	lab_end
}
