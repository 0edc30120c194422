# Which way pages go: asked for, configured, left out; and what is said where it cannot be.
# short
. "$(dirname "$0")/../tasks.sh"
unset COR_TEST_TRANSPORT
need_transport fabric:tcp
lab_up
start A threads

# asked for
go B --transport fabric:tcp
[ "$(result .transport)" = fabric:tcp ] || fail "it went over $(result .transport)"
on B cor status --json | jq -e '.sessions[0].transport == "fabric:tcp"' >/dev/null ||
	fail "B's cor status does not say fabric:tcp"
rounds 2

# the hosts' /dev/shm are not the same: the next one is taken, and it is said
go A --transport fabric:shm,fabric:tcp
[ "$(result .transport)" = fabric:tcp ] || fail "it went over $(result .transport)"
result '.warnings[0]' | grep -q 'the transport fabric:shm cannot be set up: ' ||
	fail "nothing is said of fabric:shm"
grep -q '^cor: warning: the transport fabric:shm cannot be set up: ' "$LAB_DIR/migrate.err" ||
	fail "cor migrate does not warn"

# one alone gives way to tcp as well
go B --transport fabric:shm
[ "$(result .transport)" = tcp ] || fail "it went over $(result .transport)"

# what there is not
refused()
{
	migrate B "$TASK_PID" A --transport "$1" && fail "--transport $1 was accepted"
	grep -q "$2" "$LAB_DIR/migrate.err" || {
		cat "$LAB_DIR/migrate.err" >&2
		fail "--transport $1: not \"$2\""
	}
}
refused pigeon 'there is no transport "pigeon"'
refused '!tcp' 'tcp cannot be left out'
refused fabric:tcp,pigeon 'there is no transport "pigeon"'
# no adapter on this machine, or none that reaches the other host
[ -n "$(ls /sys/class/infiniband 2>/dev/null)" ] ||
	refused verbs '10.123.0.1:7474 does not have the transport verbs'
rounds 2

# a host that has said what it permits
on A kill -TERM "${LAB_CORD[A]}"
wait_for 10 gone A "${LAB_CORD[A]}" || fail "cord on A does not end"
LAB_CONFIG='[paging]
transports = fabric:tcp'
lab_cord A
refused fabric:shm '10.123.0.1:7474 does not have the transport fabric:shm'
go A --transport fabric:shm,fabric:tcp
[ "$(result .transport)" = fabric:tcp ] || fail "it went over $(result .transport)"
result .warnings && fail "A was asked for fabric:shm"
# and which it uses itself, unless it is told not to
go B
[ "$(result .transport)" = fabric:tcp ] || fail "it went over $(result .transport)"
lab_mark
go A --transport tcp
go B --transport '!fabric:tcp'
[ "$(result .transport)" = tcp ] || fail "it went over $(result .transport)"
rounds 2
finish
lab_end
