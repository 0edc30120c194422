# uniform = yes: a task that is away sees its home's tree and that of the host where it is
# by the hosts' names as well, on each host anew.
. "$(dirname "$0")/../tasks.sh"
LAB_ROOT=own
LAB_CONFIG="[cord]
uniform = yes"
lab_up A B C
on A mkdir -p /srv/job
for host in A B C; do on $host sh -c "echo $host >/srv/name"; done
start_in A /srv/job files regular
# seen NAME: /cor/NAME/srv/name, as the task sees it
seen() { on "$TASK_HOST" cat "/proc/$TASK_PID/root/cor/$1/srv/name" 2>/dev/null || echo none; }
for host in B C; do
	go $host
	rounds 2
	[ "$(seen A) $(seen $host)" = "A $host" ] || fail "on $host: $(seen A) $(seen $host)"
done
[ "$(seen B)" = none ] || fail "B is seen still"
go A
rounds 2
finish_in A
lab_end
