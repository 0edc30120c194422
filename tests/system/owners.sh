# Users see and move their own tasks, and no others; root all. The control socket lets in
# whom the configuration says.
. "$(dirname "$0")/../tasks.sh"
LAB_CONFIG='[cord]
control-mode = 0666'
lab_up

# as USER COMMAND...: on host A
as()
{
	local user=$1

	shift
	on A setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
}

# start_as USER: threads, as that user
start_as()
{
	TASK=threads-$1
	TASK_HOST=A
	TASK_OUT=$LAB_DIR/A/$TASK
	spawn A "$TASK" setpriv --reuid "$1" --regid "$1" --clear-groups \
		threads -p "$LAB_DIR/A/own-$1/beat"
	TASK_PID=$SPAWNED
	TASK_OUT=$LAB_DIR/A/$TASK
	ln -s "own-$1/beat" "$TASK_OUT.beat"
	wait_for 30 test -s "$TASK_OUT.beat" || fail "threads of $1 did not begin"
}

for user in daemon games; do
	mkdir "$LAB_DIR/A/own-$user"
	chown "$user" "$LAB_DIR/A/own-$user"
done
chmod 755 "$LAB_DIR/A"
start_as games
games=$TASK_PID
start_as daemon

# another's task, before it moves
status=0
as daemon cor migrate "$games" "${LAB_ADDR[B]}:$LAB_PORT" --json >"$LAB_DIR/said" 2>&1 </dev/null ||
	status=$?
[ $status -eq 1 ] || fail "daemon could move a task of games: exit status $status"
grep -q "process $games is not yours" "$LAB_DIR/said" || fail "no word of why: $(cat "$LAB_DIR/said")"
grep -q "of user 1 is refused: process $games is not yours" "$LAB_DIR/A/cord.err" ||
	fail "cord does not say it"

# one's own, but not dumpable: it may keep a secret
spawn A secret setpriv --reuid daemon --regid daemon --clear-groups /usr/bin/python3 -c \
	'import ctypes, time; ctypes.CDLL(None).prctl(4, 0); print("hidden", flush=True); time.sleep(600)'
wait_for 10 grep -q hidden "$LAB_DIR/A/secret.out" || { cat "$LAB_DIR/A/secret.err" >&2; fail "the secret keeper did not begin"; }
! as daemon cor migrate "$SPAWNED" "${LAB_ADDR[B]}:$LAB_PORT" --json >"$LAB_DIR/said" 2>&1 </dev/null ||
	fail "what is not dumpable could be moved by its user"
grep -q 'not dumpable' "$LAB_DIR/said" || fail "no word of why: $(cat "$LAB_DIR/said")"

# one's own
as daemon cor migrate "$TASK_PID" "${LAB_ADDR[B]}:$LAB_PORT" --json --no-prefetch --wait resumed \
	>"$LAB_DIR/migrate.json" </dev/null || fail "daemon cannot move his own task"
TASK_HOST=B
TASK_PID=$(result .destination_pid)
id=$(result .id)

# what others see of it: nothing, by name or in the list
as games cor status --json | jq -e '.sessions == [] and .tasks == [] and .served == []' >/dev/null ||
	fail "games sees sessions of daemon"
for request in "status $id" "cancel $id" "resolve $id --peer-is-dead" "settle $id"; do
	# shellcheck disable=SC2086
	! as games cor $request >"$LAB_DIR/said" 2>&1 || fail "games may: cor $request"
	grep -qE "there is none|is no task that has come here" "$LAB_DIR/said" || fail "games is told: $(cat "$LAB_DIR/said")"
done
as daemon cor status --json | jq -e '.sessions | length == 1' >/dev/null ||
	fail "daemon does not see his own session"
on A cor status --json | jq -e '.sessions | length == 1' >/dev/null || fail "root does not see it"
on B setpriv --reuid games --regid games --clear-groups cor status --json |
	jq -e '.tasks == [] and .sessions == []' >/dev/null || fail "games sees the task that arrived"
on B setpriv --reuid daemon --regid daemon --clear-groups cor status --json |
	jq -e '.tasks | length == 1' >/dev/null || fail "daemon does not see his task where it arrived"
rounds 3

# and back, by its user there
on B setpriv --reuid daemon --regid daemon --clear-groups cor migrate "$TASK_PID" \
	"${LAB_ADDR[A]}:$LAB_PORT" --json >"$LAB_DIR/migrate.json" </dev/null ||
	fail "daemon cannot move his task on"
TASK_HOST=A
TASK_PID=$(result .destination_pid)
rounds 3
finish
on A kill -KILL "$games" "$SPAWNED"

# without a wider mode nobody but root comes in
on A kill -TERM "${LAB_CORD[A]}"
wait_for 10 gone A "${LAB_CORD[A]}" || fail "cord does not end"
LAB_CONFIG='' lab_cord A
! as daemon cor status >"$LAB_DIR/said" 2>&1 || fail "the control socket lets daemon in"
grep -qi 'permission denied' "$LAB_DIR/said" || fail "daemon is told: $(cat "$LAB_DIR/said")"
