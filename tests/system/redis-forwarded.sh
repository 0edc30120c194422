# short
# redis-server with 50 clients on a third host, and two on its own, moves there and back
# and its address stays: what they say goes through the home. No request fails, nobody has
# to connect again, and who comes later is served too.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../servers.sh"
need redis-server redis-cli
lab_up A B C
CLIENTS_ADDRESS=${LAB_ADDR[A]}
spawn A redis redis-server --port $REDIS_PORT --bind "$CLIENTS_ADDRESS" --protected-mode no --save "" \
	--appendonly no --daemonize no --dir "$LAB_DIR/A"
pid=$SPAWNED
wait_for 10 clients_reach A
clients_start C redis 50 100
clients_start A redis 2 100
clients_through "$pid" --wait resumed
clients_reach C || fail "a new client is not served"
clients_finish C
clients_finish A
on A kill -TERM "$MOVED"
wait_for 10 gone A "$MOVED" || fail "redis does not end"
lab_end
