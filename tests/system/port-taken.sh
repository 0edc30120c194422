# A port that is in use on the destination is named before the freeze.
. "$(dirname "$0")/../tasks.sh"
need memcached
lab_up
spawn B other memcached -u root -U 0 -p 11311
other=$SPAWNED
spawn A memcached memcached -u root -U 0 -p 11311
mine=$SPAWNED
listening() { on "$1" ss -Hltn "sport = :11311" | grep -q .; }
wait_for 10 listening A && wait_for 10 listening B || fail "memcached does not listen"
status=0
migrate A "$mine" B || status=$?
[ $status -eq 1 ] || fail "exit status $status instead of 1"
cat "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" | grep -q 11311 ||
	fail "the error does not name the port"
alive A "$mine" || fail "the task is gone"
# Once the port is free, the same task can go.
on B kill "$other"
wait_for 5 gone B "$other"
move A "$mine" B
wait_for 10 listening B || fail "memcached does not listen on B"
on B kill "$MOVED"
wait_for 5 gone B "$MOVED"
lab_end
