# cases
# The process that has stopped a task dies before COMMIT: the task goes on, and has back what
# was taken from it for its migration. So it can be moved once more.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
. "$(dirname "$0")/../strike.sh"
. "$(dirname "$0")/../visit.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' gates connections address names cord-too
	exit 0
fi
need_fault_points
strike_init

# killed_at POINT [OPTION...]: the tracer of TASK_PID, while it is to go from A to B.
killed_at()
{
	local point=$1 mover

	shift
	hold_at "$point"
	on A cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" "$@" --json >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" &
	mover=$!
	wait_for 20 held_at "$point" || fail "the migration does not come to $point: $(cat "$LAB_DIR/migrate.err")"
	[ -z "${CORD_TOO:-}" ] || on A kill -KILL "${LAB_CORD[A]}"
	killed A cord-source
	[ -z "${CORD_TOO:-}" ] || lab_cord A
	let_go "$point"
	! wait "$mover" || fail "the migration says that it went well"
	hold_nothing
	wait_for 10 is_mended || { cat "$LAB_DIR/A/cord.err" >&2; fail "nobody undoes it"; }
}

is_mended()
{
	grep -q "the task has back what its migration had taken" "$LAB_DIR/A/cord.err"
}

has_address()
{
	on A ip -o addr show | grep -q " $LAB_FLOAT/"
}

# A client on C that asks, and once more over the same connection when it is told to.
# shellcheck disable=SC2016
client_main='
	exec 3<>"/dev/tcp/$1/$2" || exit 1
	echo PING >&3
	read -r -t 10 -u 3 answer && echo "$answer"
	while [ ! -e "$3" ]; do sleep 0.1; done
	echo PING >&3
	read -r -t 10 -u 3 answer && echo "$answer"'
client_start()
{
	spawn C client bash -c "$client_main" client "$LAB_FLOAT" 7379 "$LAB_DIR/C/ask"
	CLIENT=$SPAWNED
	wait_for 10 client_has 1
}

client_has()
{
	[ "$(grep -c '^+PONG' "$LAB_DIR/C/client.out")" -eq "$1" ]
}

redis_listens()
{
	on A ss -Hltn "sport = :7379" | grep -q .
}

# connected_at POINT: a redis-server with a client that is silent meanwhile.
connected_at()
{
	need redis-server redis-cli
	lab_up A B C
	lab_float A
	spawn A redis redis-server --port 7379 --bind "$LAB_FLOAT" --protected-mode no --save "" \
		--appendonly no --daemonize no --dir "$LAB_DIR/A"
	TASK_PID=$SPAWNED
	wait_for 10 redis_listens || fail "redis does not begin"
	client_start || fail "no answer: $(cat "$LAB_DIR/C/client.err")"
	killed_at "$1" --address "$LAB_FLOAT/24"
	has_address || fail "the address is not there any more"
	move A "$TASK_PID" B --address "$LAB_FLOAT/24"
	touch "$LAB_DIR/C/ask"
	wait_for 15 client_has 2 || fail "the connection is not what it was: $(on C ss -tno)"
	on B kill -TERM "$MOVED"
	wait_for 10 gone B "$MOVED" || fail "redis does not end"
}

# A task that has a socket file of its host's and locks on what all see, which it looks at no more.
names_main='
import fcntl, os, socket, sys
base = sys.argv[1]
lock = open(base + ".lock", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
whole = open(base + ".flock", "w")
fcntl.flock(whole, fcntl.LOCK_EX)
server = socket.socket(socket.AF_UNIX)
server.bind("/run/names.sock")
server.listen()
while True:
    client = server.accept()[0]
    client.sendall(b"here\n")
    client.close()
'
names_ask='
import fcntl, socket, sys
base = sys.argv[1]
for name, how in ((".lock", fcntl.lockf), (".flock", fcntl.flock)):
    try:
        how(open(base + name, "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        sys.exit(name + ": not locked")
    except BlockingIOError:
        pass
client = socket.socket(socket.AF_UNIX)
client.connect("/run/names.sock")
print(client.recv(16).decode(), end="")
'
has_names()
{
	[ "$(on "$1" python3 -c "$names_ask" "$LAB_DIR/names" 2>"$LAB_DIR/ask.err")" = here ]
}

case $1 in
gates)
	visit_start short
	killed_at frozen --address "$LAB_FLOAT/24"
	visit_rounds 10
	go B --address "$LAB_FLOAT/24"
	visit_rounds 10
	visit_finish ;;
connections)
	connected_at captured ;;
address)
	connected_at ready ;;
cord-too)
	CORD_TOO=1
	connected_at ready ;;
names)
	need python3
	lab_up
	spawn A names python3 -c "$names_main" "$LAB_DIR/names"
	TASK_PID=$SPAWNED
	wait_for 10 has_names A || { cat "$LAB_DIR/A/names.err" >&2; fail "it has not begun: $(tail -n 1 "$LAB_DIR/ask.err")"; }
	killed_at image-sent
	has_names A || fail "what it had is gone: $(tail -n 1 "$LAB_DIR/ask.err")"
	move A "$TASK_PID" B
	has_names B || fail "after a move: $(tail -n 1 "$LAB_DIR/ask.err")"
	on B kill -TERM "$MOVED"
	wait_for 10 gone B "$MOVED" || fail "it does not end"
	on B rm /run/names.sock ;;
esac
lab_end
