# short
# redis-server with 50 clients on a third host, and two on the host that it leaves, all
# asking on while it moves there and back with its address: no request fails, nobody
# has to connect again.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../servers.sh"
need redis-server redis-cli
lab_up A B C
lab_float A
spawn A redis redis-server --port $REDIS_PORT --bind "$LAB_FLOAT" --protected-mode no --save "" \
	--appendonly no --daemonize no --dir "$LAB_DIR/A"
pid=$SPAWNED
wait_for 10 clients_reach A
clients_start C redis 50 100
clients_start A redis 2 100 "${LAB_ADDR[A]}"
clients_through "$pid"
clients_finish C
clients_finish A
on A kill -TERM "$MOVED"
wait_for 10 gone A "$MOVED" || fail "redis does not end"
lab_end
