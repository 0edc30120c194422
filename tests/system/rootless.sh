# A user's own cords move his python3 there and back: no capability, and of the system
# nothing but his group's right to /dev/userfaultfd (dist/60-cor-userfaultfd.rules).
# timeout: 120
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../keys.sh"
need python3
USER_ID=1000
GROUP_ID=977
python=$(PATH=/usr/bin:$PATH command -v python3)
keys_begin
keys_psk shared A
keys_psk shared B

# as HOST COMMAND...: as that user
as()
{
	local host=$1

	shift
	on "$host" env XDG_RUNTIME_DIR="$LAB_DIR/$host/run" \
		setpriv --reuid $USER_ID --regid $USER_ID --groups $GROUP_ID \
		--inh-caps=-all --bounding-set=-all --no-new-privs "$@"
}

# as udev would have it
for host in A B; do
	device=$LAB_DIR/$host/userfaultfd
	mknod "$device" c 10 "$(sed -n 's/ userfaultfd$//p' /proc/misc)" || skip "no /dev/userfaultfd"
	chgrp $GROUP_ID "$device"
	chmod 660 "$device"
	on $host mount --bind "$device" /dev/userfaultfd
	mkdir -m 700 "$LAB_DIR/$host/run"
	mkdir "$LAB_DIR/$host/own"
	chown $USER_ID:$USER_ID "$LAB_DIR/$host/run" "$LAB_DIR/$host/own"
	chmod 755 "$LAB_DIR/$host"
done
chown $USER_ID "$KEYS/shared"
cat >"$KEYS/config" <<-END
	[keys]
	psk = $KEYS/shared
	[peer A]
	address = 10.123.0.1:$LAB_PORT
	users = $USER_ID
	groups = $USER_ID, $GROUP_ID
	[peer B]
	address = 10.123.0.2:$LAB_PORT
	users = $USER_ID
	groups = $USER_ID, $GROUP_ID
END
as A grep -q '^CapEff:.0000000000000000$' /proc/self/status || fail "the user has capabilities"

for host in A B; do
	spawn $host cord env XDG_RUNTIME_DIR="$LAB_DIR/$host/run" \
		setpriv --reuid $USER_ID --regid $USER_ID --groups $GROUP_ID \
		--inh-caps=-all --bounding-set=-all --no-new-privs \
		cord --name $host --listen "${LAB_ADDR[$host]}:$LAB_PORT" --config "$KEYS/config"
	LAB_CORD[$host]=$SPAWNED
	wait_for 10 test -S "$LAB_DIR/$host/run/cor/cord.sock" || fail "cord on $host does not begin"
done
lab_mark

TASK=python TASK_HOST=A TASK_OUT=$LAB_DIR/A/own/python
as A touch "$TASK_OUT.out" "$TASK_OUT.err"
# shellcheck disable=SC2016
spawn A python env XDG_RUNTIME_DIR="$LAB_DIR/A/run" \
	setpriv --reuid $USER_ID --regid $USER_ID --groups $GROUP_ID \
	sh -c 'out=$1; shift; exec "$@" >"$out.out" 2>"$out.err"' sh "$TASK_OUT" \
	"$python" "$LAB_TOP/tests/programs/hashes.py" "$TASK_OUT.beat"
TASK_PID=$SPAWNED
wait_for 30 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "python3 did not begin"; }

# walk TO
walk()
{
	local from=$TASK_HOST pid=$TASK_PID status=0

	as "$from" cor migrate "$pid" "$1" --json </dev/null \
		>"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" || status=$?
	[ $status -eq 0 ] || {
		cat "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" >&2
		fail "cor migrate from $from to $1: exit status $status"
	}
	TASK_HOST=$1
	TASK_PID=$(result .destination_pid)
	wait_for 5 gone "$from" "$pid" || fail "PID $pid is still on host $from"
	alive "$1" "$TASK_PID" || fail "python3 is not on host $1"
}

walk B
rounds 3
grep -q '^CapEff:.0000000000000000$' <(on B cat "/proc/$TASK_PID/status") ||
	fail "the task has got capabilities"
grep -q "^Uid:.$USER_ID.$USER_ID.$USER_ID.$USER_ID" <(on B cat "/proc/$TASK_PID/status") ||
	fail "the task is somebody else"
walk A
rounds 3
finish
lab_end
