# Real servers in a lab. Sourced by system tests and ./demo, behind lab.sh.

# connected HOST PORT: has anybody a connection to it?
connected()
{
	on "$1" ss -Htn state established state close-wait state fin-wait-1 \
		"sport = :$2" | grep -q .
}

not_connected()
{
	! connected "$@"
}

REDIS_PORT=7379

# redis_start HOST: SPAWNED is its PID.
redis_start()
{
	spawn "$1" redis redis-server --port $REDIS_PORT --bind 0.0.0.0 --protected-mode no \
		--save "" --appendonly no --daemonize no --enable-debug-command yes \
		--dir "$LAB_DIR/$1"
	wait_for 10 redis_answers "$1"
}

# redis HOST COMMAND...: and waits until the server has seen the connection end,
# for an established one would be a reason to refuse a move.
redis()
{
	local host=$1

	shift
	on "$host" redis-cli -h "${LAB_ADDR[$host]}" -p $REDIS_PORT "$@" </dev/null
	wait_for 5 not_connected "$host" $REDIS_PORT
}

redis_answers()
{
	[ "$(redis "$1" PING 2>/dev/null)" = PONG ]
}

# redis_fill HOST MIB: keys of 1 KiB, all different.
redis_fill()
{
	redis "$1" DEBUG POPULATE $(($2 * 1024 * 9 / 10)) key 1024 >/dev/null
}

# ---- clients that count (tests/programs/clients.c) -----------------------------------

declare -A CLIENTS=()

clients_reach()
{
	on "$1" redis-cli -h "${CLIENTS_ADDRESS:-$LAB_FLOAT}" -p $REDIS_PORT PING 2>/dev/null | grep -q PONG
}

# clients_start HOST PROTOCOL N RATE [FROM]: N clients of the server at LAB_FLOAT (or
# CLIENTS_ADDRESS), each with RATE requests a second.
clients_start()
{
	local host=$1 protocol=$2

	shift 2
	spawn "$host" clients clients -p "$LAB_DIR/$host/clients.beat" "$protocol" \
		"${CLIENTS_ADDRESS:-$LAB_FLOAT}" "${CLIENTS_PORT:-$REDIS_PORT}" "$@"
	CLIENTS[$host]=$SPAWNED
	wait_for 20 test -s "$LAB_DIR/$host/clients.beat" || {
		cat "$LAB_DIR/$host/clients.err" >&2
		fail "the clients on $host have no answer"
	}
}

# clients_asked HOST: they say how things were since the last time.
clients_asked()
{
	local lines

	lines=$(wc -l <"$LAB_DIR/$1/clients.out")
	on "$1" kill -USR2 "${CLIENTS[$1]}"
	wait_for 10 clients_spoke "$1" "$lines" || fail "the clients on $1 do not answer"
}

clients_spoke()
{
	[ "$(wc -l <"$LAB_DIR/$1/clients.out")" -gt "$2" ]
}

# clients_said HOST FILTER: jq on that.
clients_said()
{
	tail -n 1 "$LAB_DIR/$1/clients.out" | jq -r "$2"
}

# clients_more HOST N: until they have had N answers more or so (their beat is slower).
clients_more()
{
	local out=$TASK_OUT

	TASK_OUT=$LAB_DIR/$1/clients
	rounds $(($2 / 100 + 1))
	TASK_OUT=$out
}

# Their verdict, which must be good.
clients_finish()
{
	on "$1" kill -TERM "${CLIENTS[$1]}"
	wait_for 10 gone "$1" "${CLIENTS[$1]}" || fail "the clients on $1 do not end"
	cat "$LAB_DIR/$1/clients.err" >&2
	tail -n 1 "$LAB_DIR/$1/clients.out"
	tail -n 1 "$LAB_DIR/$1/clients.out" | grep -q '^ok .* 0 failed, 0 reconnects' ||
		fail "$(tail -n 1 "$LAB_DIR/$1/clients.out")"
}

# clients_through A-PID [OPTION...]: the server goes to B and back to A, with its address
# or with those options, and how that was for the clients on C is printed. MOVED is its
# PID then.
clients_through()
{
	local from=A to

	MOVED=$1
	shift
	[ $# -gt 0 ] || set -- --address "$LAB_FLOAT/24"
	for to in B A; do
		clients_asked C
		move $from "$MOVED" $to "$@"
		from=$to
		clients_more C 1000
		clients_asked C
		echo "to $to: longest gap $(clients_said C .gap_us) us beside a freeze of" \
			"$(result .freeze_us) us with $(result '.connections // "forwarded"') connections;" \
			"$(clients_said C .failed) failed, $(clients_said C .reconnects) reconnects"
	done
}
