# cases
# Files that exist only on the home, a case for each kind: what the task has open there
# it goes on with from a second host, and from a third, which the home serves directly;
# and back at home they are files as before.
. "$(dirname "$0")/../tasks.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' regular append dup directory locks deleted tmpfile mapped followed o-path nobodys
	exit 0
fi
LAB_ROOT=own
lab_up A B C
on A mkdir -p /srv/job
kind=$1
if [ "$kind" = nobodys ]; then
	# the file server has no more rights than its task
	kind=regular TASK_USER=65534
	on A chown 65534:65534 /srv/job
	chmod 777 "$LAB_DIR/A"
fi
start_in A /srv/job files "$kind"
for host in B C B A; do
	go "$host"
	rounds 3
	[ $host = A ] || ! on $host test -e /srv/job || fail "/srv/job is on $host too"
	# nothing of the task's is left on the host before, and its files are not served there
	[ $host != C ] || on B sh -c '! ls /run/cor/state/home/*.sock 2>/dev/null' ||
		fail "B serves files that are A's"
done
finish_in A
lab_end
