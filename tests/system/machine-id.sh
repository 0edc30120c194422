# cases
# By which identity a task knows its machine: /etc/machine-id is a file as others, its home's
# wherever the task goes, or, where the configuration says so of /etc, that of the host where
# it is.
. "$(dirname "$0")/../tasks.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' home local
	exit 0
fi
need python3
LAB_ROOT=own
[ "$1" = home ] || LAB_CONFIG="[files]
/etc = local"
lab_up
names=$(realpath "$(dirname "$0")/../programs/names.py")
for host in A B; do
	on $host sh -c "rm -f /etc/machine-id; echo this-is-$host >/etc/machine-id"
done
spawn A names python3 "$names" "$LAB_DIR/names"
pid=$SPAWNED
passed() { [ "$(jq .rounds "$LAB_DIR/names")" -gt "$1" ]; }
wait_for 10 test -s "$LAB_DIR/names" || fail "the task does not begin"

# says IDENTITY, a round later than now
says()
{
	wait_for 10 passed $(($(jq .rounds "$LAB_DIR/names") + 2)) || fail "the task does not go on"
	jq -e --arg n "$1" '.["machine-id"] == $n' "$LAB_DIR/names" >/dev/null ||
		fail "instead of $1 it says $(cat "$LAB_DIR/names")"
}

says this-is-A
move A "$pid" B
if [ "$1" = home ]; then
	says this-is-A
else
	says this-is-B
fi
jq -e '.gethostname == "A"' "$LAB_DIR/names" >/dev/null || fail "its host has another name"
move B "$MOVED" A
says this-is-A
on A kill -TERM "$MOVED"
wait_for 10 gone A "$MOVED" || fail "the task does not end"
lab_end
