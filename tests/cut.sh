# Cutting hosts off while a task's pages are on their way, for system tests. Sourced
# after tasks.sh.

# leave FROM TO: moves the task, which runs there, with most of its pages still here.
# They come when it moves on: see comes_back.
leave()
{
	move "$1" "$TASK_PID" "$2" --no-prefetch --wait resumed
	TASK_HOST=$2
	TASK_LEFT=$TASK_PID
	TASK_PID=$MOVED
}

# comes_back FROM TO: back to where it left, whose first session ends well before.
comes_back()
{
	local left=$TASK_LEFT

	go "$2"
	wait_for 5 session_is "$2" source released || {
		on "$2" cor status >&2
		fail "the session of PID $left on host $2 did not end as it should"
	}
}

# ---- fault points (daemon/fault.h) ---------------------------------------------------

need_fault_points()
{
	grep -qa 'commit-sent' "$COR_BUILD/cord" ||
		skip "this build has no fault points (--enable-fault-points)"
}

# lab_hold POINT: before lab_up. The process that comes to POINT first waits there.
lab_hold()
{
	HELD_DIR=$(mktemp -d "${TMPDIR:-/tmp}/cor-held.XXXXXX")
	chmod 1777 "$HELD_DIR"         # the page server is nobody
	export COR_FAULT=$1:hold=$HELD_DIR
}

# await_held POINT: its PID, as its host numbers it, in HELD.
await_held()
{
	wait_for 30 test -s "$HELD_DIR/$1.reached" || fail "nobody came to the point $1"
	HELD=$(<"$HELD_DIR/$1.reached")
}

lab_release()
{
	touch "$HELD_DIR/$1.go"
}

# ---- sessions and the network ----------------------------------------------------------

# session_is HOST ROLE STATE: has it such a session?
session_is()
{
	on "$1" timeout 5 cor status --json 2>/dev/null |
		jq -e --arg r "$2" --arg s "$3" \
			'.sessions[] | select(.role == $r and .state == $s)' >/dev/null
}

# await_session HOST ROLE STATE [SECONDS]
await_session()
{
	wait_for "${4:-20}" session_is "$1" "$2" "$3" || {
		on "$1" cor status >&2
		fail "host $1 has no $2 session in state $3"
	}
}

# cut HOST SECONDS: it is off the network. The sleep is the fault itself.
cut()
{
	on "$1" ip link set eth0 down
	sleep "$2"
	on "$1" ip link set eth0 up
}

# reset_connections HOST [FILTER...]: those of its cord and workers, by RST; their
# number in RESET.
reset_connections()
{
	local host=$1

	shift
	on "$host" ss -HK -t state established "( sport = :$LAB_PORT or dport = :$LAB_PORT )" \
		"$@" >"$LAB_DIR/reset" || :
	RESET=$(grep -c "$LAB_PORT" "$LAB_DIR/reset") || :
}

connected()
{
	[ "$(on "$1" ss -Ht state established "( dport = :$LAB_PORT )" | wc -l)" -ge "$2" ]
}

# await_connections HOST N: of the source HOST to the destination.
await_connections()
{
	wait_for 30 connected "$1" "$2" || {
		on "$1" ss -t >&2
		fail "host $1 does not connect again"
	}
}
