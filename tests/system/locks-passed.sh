# cases
# A task that holds POSIX locks on a file of its home's for good is moved away, between two other
# hosts and back; a process on the home that wants them, without a pause, never has one of them:
# neither where the task goes nor where it stays, because the other host fails when all is made
# there. And has them when the task lets go. Of a file that both hosts see it is said that it is
# not so.
. "$(dirname "$0")/../tasks.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' moved stays shared
	exit 0
fi
need python3
if [ "$1" = shared ]; then
	lab_up A B
	printf %200s >"$LAB_DIR/A/data"
	start_foreign A locks-kept python3 "$LAB_TOP/tests/programs/locks-kept.py" "$LAB_DIR/A/data"
	go B
	rounds 3
	result '.warnings[0]' | grep -q '^the POSIX locks on .*data were nobody.s for a moment' ||
		fail "nothing is said of the locks: $(result .warnings)"
	touch "$LAB_DIR/A/data.end"
	wait_for 10 gone B "$TASK_PID" || fail "the task does not end"
	lab_end
	exit
fi
LAB_ROOT=own
if [ "$1" = stays ]; then
	grep -qa 'commit-sent' "$COR_BUILD/cord" ||
		skip "this build has no fault points (--enable-fault-points)"
	export COR_FAULT=@/run/strike           # each host's own
fi
lab_up A B C
on A mkdir -p /srv/job
on A sh -c 'printf %200s >/srv/job/data'
for script in locks-kept locks-tried; do
	on A cp "$LAB_TOP/tests/programs/$script.py" /srv/job
done

# try_begin; then, after what is to be seen, tried: how often it had a lock
try_begin()
{
	rm -f "$LAB_DIR/tried.end" "$LAB_DIR/tried.begun"
	spawn A tried python3 /srv/job/locks-tried.py /srv/job/data "$LAB_DIR/tried"
	TRIER=$SPAWNED
	wait_for 10 test -e "$LAB_DIR/tried.begun" || fail "the other process does not begin"
}
tried()
{
	touch "$LAB_DIR/tried.end"
	wait_for 10 gone A "$TRIER" || fail "the other process does not end"
	read -r HAD _ <"$LAB_DIR/tried"
}

# Its connection is cut when it has made the task and said so to nobody.
fails()         # FROM TO
{
	on "$2" sh -c 'echo rebuilt:cut >/run/strike'
	! migrate "$1" "$TASK_PID" "$2" || fail "it is moved all the same"
	on "$2" rm /run/strike
	rounds 3
}

start_foreign A locks-kept python3 /srv/job/locks-kept.py /srv/job/data
try_begin
for host in B C B; do
	[ "$1" = moved ] || fails "$TASK_HOST" "$host"
	go "$host"
	rounds 3
done
if [ "$1" = stays ]; then
	tried
	[ "$HAD" = 0 ] || fail "another process had a lock $HAD times"
	# back at home they are the task's own at once, and end with what was made of it
	fails B A
	try_begin
fi
go A
rounds 3
tried
[ "$HAD" = 0 ] || fail "another process had a lock $HAD times"
on A touch /srv/job/data.let-go
rounds 3
try_begin
tried
[ "$HAD" -gt 0 ] || fail "nobody can lock what the task let go"
on A touch /srv/job/data.end
wait_for 10 gone A "$TASK_PID" || fail "the task does not end"
lab_end
