# cases
# The name by which a task knows its host: its home's wherever it goes, and that of what it
# starts there; without the mechanism the name of the host where it is. A task that has its
# home's name elsewhere is then refused by that name before the freeze.
. "$(dirname "$0")/../tasks.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' kept without off-there refused
	exit 0
fi
need python3
lab_up A B C
names=$(realpath "$(dirname "$0")/../programs/names.py")
spawn A names python3 "$names" "$LAB_DIR/names"
pid=$SPAWNED
wait_for 10 test -s "$LAB_DIR/names" || fail "the task does not begin"

passed() { [ "$(jq .rounds "$LAB_DIR/names")" -gt "$1" ]; }
called() { passed "$2" && jq -e --arg n "$1" '.gethostname == $n and .uname == $n and .kernel == $n' \
	"$LAB_DIR/names" >/dev/null; }

# is_at NAME: so it says a round later than now, and never anything else.
is_at()
{
	local from

	from=$(jq .rounds "$LAB_DIR/names")
	wait_for 10 passed $((from + 2)) || fail "the task does not go on"
	called "$1" "$from" || fail "instead of $1 it says $(cat "$LAB_DIR/names")"
}

child_says()
{
	jq -e --arg n "$1" '.child == $n' "$LAB_DIR/names" >/dev/null
}

# starts NAME: what it starts is told the same.
starts()
{
	touch "$LAB_DIR/names.ask"
	wait_for 10 child_says "$1" || fail "what it starts says $(cat "$LAB_DIR/names")"
	rm "$LAB_DIR/names.ask"
}

# to HOST NAME [OPT...]
to()
{
	local host=$1 name=$2

	shift 2
	move "$at" "$pid" "$host" "$@"
	at=$host
	pid=$MOVED
	is_at "$name"
	starts "$name"
}

at=A
is_at A
case $1 in
kept)
	to B A
	to C A
	on C hostname | grep -qx C || fail "the host's own name has changed"
	to A A
	;;
without)
	to B B --without host-name
	to C B
	to A B
	;;
off-there)
	on B kill -TERM "${LAB_CORD[B]}"
	wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord does not end"
	LAB_CONFIG="[mechanisms]
host-name = no" lab_cord B
	lab_mark
	to B B
	;;
refused)
	to B A
	status=0
	migrate B "$pid" C --without host-name || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	result .error | grep -q "the host name \"A\" of process $pid needs the mechanism host-name, which this migration goes without" ||
		fail "the error is: $(result .error)"
	[ "$(result .freeze_us)" = null ] || fail "it was frozen before it was refused"
	is_at A
	;;
esac
on "$at" kill -TERM "$pid"
wait_for 10 gone "$at" "$pid" || fail "the task does not end"
lab_end
