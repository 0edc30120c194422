# memcached, whose threads share the connections, with 50 clients while it moves there
# and back with its address.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../servers.sh"
need memcached
lab_up A B C
lab_float A
spawn A memcached memcached -u root -U 0 -p 11311 -l "$LAB_FLOAT" -m 64
pid=$SPAWNED
listening() { on A ss -Hltn "sport = :11311" | grep -q .; }
wait_for 10 listening || fail "memcached does not listen"
CLIENTS_PORT=11311
clients_start C memcached 50 100
clients_through "$pid"
clients_finish C
on A kill -TERM "$MOVED"
wait_for 10 gone A "$MOVED" || fail "memcached does not end"
lab_end
