# The home is out of reach for longer than a connection lasts, and its cord ends for good: what the task asks
# of its files waits, and goes on; locks and a file without a name are kept.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
LAB_ROOT=own
LAB_CONFIG="[timeouts]
silence-s = 1"
lab_up
on A mkdir -p /srv/job
start_in A /srv/job files deleted
go B
rounds 2
cut A 4
rounds 3
# the file server needs no cord while it is connected, and a new cord finds it again
on A kill -KILL "${LAB_CORD[A]}"
rounds 3
lab_cord A
cut A 4
rounds 3
connected() { on B cor status --json | jq -e '.tasks[0].needs[0].connected' >/dev/null; }
wait_for 5 connected || fail "not connected: $(on B cor status --json)"
go A
rounds 2
finish_in A
