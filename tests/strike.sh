# Faults in the midst of a migration, for tests/faults and tests/soak. Sourced after tasks.sh
# and cut.sh, with SOURCE and DESTINATION as the hosts, and WITNESS as the task's.

# COR_FAULT of the cords: what a file says when a process comes to a point.
strike_init()
{
	STRIKE_SPEC=$(mktemp "${TMPDIR:-/tmp}/cor-strike.XXXXXX")
	chmod 644 "$STRIKE_SPEC"        # the page server is nobody, and reads it too
	export COR_FAULT=@$STRIKE_SPEC
}

# hold_at POINT: the process that comes there first waits, until let_go.
hold_at()
{
	HELD_DIR=$LAB_DIR/held
	rm -rf --one-file-system "$HELD_DIR"
	mkdir -m 1777 "$HELD_DIR"
	echo "$1:hold=$HELD_DIR" >"$STRIKE_SPEC"
}

held_at()
{
	[ -s "$HELD_DIR/$1.reached" ]
}

let_go()
{
	touch "$HELD_DIR/$1.go"
}

hold_nothing()
{
	: >"$STRIKE_SPEC"
}

killed()
{
	on "$1" pkill -KILL -x "$2"
}

kill_cord()
{
	on "$1" kill -KILL "${LAB_CORD[$1]}"
	wait_for 10 gone "$1" "${LAB_CORD[$1]}"
	lab_cord "$1"
}

off_the_network()
{
	on A ip link set eth0 down
}

# And B answers: who asks a neighbour that was asked for in vain hears of no route, for a while.
on_the_network()
{
	on A ip link set eth0 up
	wait_for 10 answers || fail "host B does not answer, though it is on the network"
}

# It refuses: nobody listens there.
answers()
{
	# shellcheck disable=SC2016
	on A timeout 1 bash -c ': >"/dev/tcp/$0/9"' "${LAB_ADDR[B]}" 2>&1 | grep -q refused
}

# goes_on SECONDS: the task does some rounds, on the host WHERE as the witness saw it last.
goes_on()
{
	local before

	before=$(beat)
	wait_for "$1" beat_passed $((before + 3)) || return 1
	WHERE=$(tail -n 1 "$WITNESS" | awk '{ print $3 }')
}

# session_state HOST ROLE: of the last one; empty: there is none.
session_state()
{
	on "$1" timeout 5 cor status --json 2>/dev/null |
		jq -r --arg r "$2" '[.sessions[] | select(.role == $r)] | last.state // empty'
}

# Nobody keeps a session open there; without one nothing is known of it.
source_settled()
{
	case $(session_state "$SOURCE" source) in ''|released|aborted|lost) ;; *) return 1 ;; esac
}

# cor's processes there, and tasks.
workers()
{
	on "$1" ps -eo stat=,comm= | awk '$1 !~ /^Z/ && ($2 ~ /^cord-/ || $2 == "pattern") { print $2 }'
}
