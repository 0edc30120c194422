# Cutting hosts off, for system tests. Sourced after tasks.sh.

# leave HOST TO [OPT...]: cor migrate in the background, until the task runs there.
leave()
{
	local from=$1 to=$2

	shift 2
	on "$from" cor migrate "$TASK_PID" "${LAB_ADDR[$to]}:$LAB_PORT" --json "$@" \
		</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	LEAVING=$!
}

# in_state HOST STATE: has it such a session?
in_state()
{
	on "$1" cor status --json 2>/dev/null |
		jq -e --arg s "$2" '[.. | .state? | strings] | index($s)' >/dev/null
}

await_state()
{
	wait_for "${3:-20}" in_state "$1" "$2" || {
		on "$1" cor status >&2
		fail "no session of host $1 is in state $2"
	}
}

# The figure $2 of host $1's newest session.
figure()
{
	on "$1" cor status --json | jq -r "[.sessions[]] | last | .$2"
}

# cut HOST SECONDS: it hears and says nothing for so long. The sleep is the fault.
cut()
{
	on "$1" ip link set eth0 down
	sleep "$2"
	on "$1" ip link set eth0 up
}

# reset_connections HOST: the established ones of its cord and workers, by RST.
reset_connections()
{
	on "$1" ss -K -t state established "( sport = :$LAB_PORT or dport = :$LAB_PORT )" \
		>"$LAB_DIR/reset" 2>&1 || :
}

# arrived HOST FROM: the migration in the background ends well.
arrived()
{
	wait "$LEAVING" || {
		cat "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" >&2
		fail "cor migrate to $1 after the cut"
	}
	wait_for 5 gone "$2" "$TASK_PID" || fail "PID $TASK_PID is still on host $2"
	TASK_HOST=$1
	TASK_PID=$(result .destination_pid)
	alive "$1" "$TASK_PID" || fail "the task is not on host $1"
}
