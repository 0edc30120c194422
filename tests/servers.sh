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
