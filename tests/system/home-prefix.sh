# short
# Only /srv is each host's own: all else is common and stays as it is.
. "$(dirname "$0")/../tasks.sh"
LAB_OWN=/srv
lab_up
on A mkdir -p /srv/job
start_in A /srv/job files regular
go B
rounds 3
on B test -e /srv/job && fail "/srv/job is on B too"
points=$(on B grep -c fuse.cor "/proc/$TASK_PID/mountinfo")
[ "$points" = 1 ] || fail "$points trees of the home are mounted instead of one"
on B grep -q ' /srv .* - fuse.cor A ' "/proc/$TASK_PID/mountinfo" || fail "not on /srv"
on B grep -q fuse.cor /proc/1/mountinfo && fail "others see the mount"
# what it needs, and who serves it
need() { on B cor status --json | jq -e "$1" >/dev/null; }
wait_for 5 need '.tasks[0].needs[0] | .what == "files" and .host == "A" and .at == "/srv" and
	.connected and .bytes_received > 0' || fail "cor status on B: $(on B cor status --json)"
on A cor status --json | jq -e ".served[0] | .connected and .requests > 0" >/dev/null ||
	fail "cor status on A: $(on A cor status --json)"
on B cor status | grep -q 'files of A at /srv' || fail "$(on B cor status)"
go A
rounds 3
wait_for 5 on A sh -c "cor status --json | jq -e '.served == [] and .tasks[0].needs == []'" \
	>/dev/null || fail "a tie is left: $(on A cor status --json)"
on A grep -q fuse.cor "/proc/$TASK_PID/mountinfo" && fail "the home serves itself"
finish_in A
lab_end
