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
go A
rounds 3
on A grep -q fuse.cor "/proc/$TASK_PID/mountinfo" && fail "the home serves itself"
finish_in A
lab_end
