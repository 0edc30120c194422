# memcached with its threads: every value is the same on the other host.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../servers.sh"
need memcached python3
items=$(dirname "$0")/../programs/items.py
lab_up
spawn A memcached memcached -u root -U 0 -p 11311 -m 300
pid=$SPAWNED
listening() { on "$1" ss -Hltn "sport = :11311" | grep -q .; }
wait_for 10 listening A || fail "memcached does not listen"
ask()
{
	on "$1" python3 "$items" "$2" 127.0.0.1 11311 || fail "memcached on $1: $2"
	wait_for 5 not_connected "$1" 11311
}
ask A fill
move A "$pid" B
ask B verify
ask B fill
move B "$MOVED" A
ask A verify
on A kill "$MOVED"
wait_for 5 gone A "$MOVED" || fail "memcached does not end"
lab_end
