# What it costs that a server's address stays: requests of one client at a time, and large
# values, of redis where it began, elsewhere with everything through its home, and back.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../servers.sh"
need redis-server redis-cli redis-benchmark
lab_up A B C
CLIENTS_ADDRESS=${LAB_ADDR[A]}
spawn A redis redis-server --port $REDIS_PORT --bind "$CLIENTS_ADDRESS" --protected-mode no --save "" \
	--appendonly no --daemonize no --dir "$LAB_DIR/A"
pid=$SPAWNED
wait_for 10 clients_reach A

# bench_on NAME OPTION...: the median in milliseconds, and requests per second
bench_on()
{
	on C redis-benchmark -h "$CLIENTS_ADDRESS" -p $REDIS_PORT --csv "$@" </dev/null |
		tail -n 1 | tr -d '"' | awk -F, '{ print $5, $2 }'
}

# measure WHERE: a forwarded request has to come back, whatever it takes
measure()
{
	local small large

	small=$(bench_on -c 1 -n 2000 -t ping_mbulk) && [ "${small#* }" != "" ] ||
		fail "$1: no answers: $small"
	large=$(bench_on -c 4 -n 400 -d 262144 -t set) && [ "${large#* }" != "" ] ||
		fail "$1: no answers: $large"
	echo "$1: a request of one client ${small% *} ms (median);" \
		"values of 256 KiB from four $(awk "BEGIN { printf \"%.0f\", ${large#* } / 4 }") MiB/s"
}

measure "at home"
move A "$pid" B
measure "forwarded"
move B "$MOVED" A
measure "back, through two pumps"
on A kill -TERM "$MOVED"
wait_for 10 gone A "$MOVED" || fail "redis does not end"
lab_end
