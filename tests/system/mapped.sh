# cases
# A file that the task maps shared and writable is mapped elsewhere too, from home, and holds at
# home what was stored there; where that cannot be right the task is refused, and goes on.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' home settle others locked local without-home without there deleted
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
need python3
python=$(PATH=/usr/bin:$PATH command -v python3)
LAB_ROOT=own
[ "$1" != local ] || LAB_CONFIG='[files]
/srv = local'
lab_up
on A mkdir -p /srv/job
cp "$LAB_TOP/tests/programs/mapped.py" "$LAB_DIR/mapped.py"
lock=
[ "$1" != locked ] || lock=lock
TASK=mapped TASK_HOST=A TASK_OUT=$LAB_DIR/A/mapped
spawn A mapped "$python" "$LAB_DIR/mapped.py" /srv/job/data "$TASK_OUT.beat" $lock
TASK_PID=$SPAWNED
wait_for 30 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "it did not begin"; }

# refused WORDS [OPT...]: ahead of the freeze, and it goes on.
refused()
{
	local words=$1 status=0

	shift
	migrate A "$TASK_PID" B "$@" || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of a refusal"
	grep -q "the file /srv/job/data, which process $TASK_PID maps shared and writable, $words" \
		"$LAB_DIR/migrate.err" || fail "$(cat "$LAB_DIR/migrate.err")"
	[ "$(result .freeze_us)" = null ] || fail "it was refused in the freeze"
	rounds 3
}

case $1 in
home)
	go B
	rounds 20
	# shellcheck disable=SC2016 # there
	on B sh -c 'grep -q " rw-s .* /srv/job/data$" "/proc/$1/maps"' sh "$TASK_PID" &&
		on B test ! -e /srv/job || fail "it is not mapped from home: $(on B cat "/proc/$TASK_PID/maps")"
	go A
	rounds 20
	go B
	on B kill -TERM "$TASK_PID"
	wait_for 30 gone B "$TASK_PID" || fail "it does not end"
	tail -n 1 "$TASK_OUT.out" | grep '^ok ' || fail "$(cat "$TASK_OUT.out" "$TASK_OUT.err")"
	# at home lies what it had stored last
	last=$(on A python3 -c 'import struct, sys
print(max(struct.unpack("<8192Q", open("/srv/job/data", "rb").read())))')
	[ "$last" -eq "$(beat)" ] || fail "at home the last number is $last, not $(beat)"
	;;
settle)
	go B
	! on B cor settle "$TASK_PID" >"$LAB_DIR/settled" 2>&1 || fail "it was settled"
	grep -q "process $TASK_PID maps the file /srv/job/data shared and writable" "$LAB_DIR/settled" ||
		fail "$(cat "$LAB_DIR/settled")"
	on B test ! -e /srv/job/data || fail "a copy was made"
	rounds 3
	go A
	rounds 3
	;;
others)
	spawn A other "$python" -c 'import mmap, time
file = open("/srv/job/data", "r+b")
area = mmap.mmap(file.fileno(), 4096)
print("here", flush=True)
time.sleep(1000)'
	wait_for 10 test -s "$LAB_DIR/A/other.out" || { cat "$LAB_DIR/A/other.err" >&2; fail "the other one does not begin"; }
	refused "is mapped by process $SPAWNED (python3.*) too"
	on A kill "$SPAWNED"
	wait_for 10 gone A "$SPAWNED" || fail "the other one does not end"
	go B
	rounds 3
	;;
locked) refused 'has a part of it locked' ;;
local) refused "is another file at ${LAB_ADDR[B]}" ;;
without-home) refused 'needs the mechanism home' --without home ;;
without) refused 'needs the mechanism mapped-files, which this migration goes without' --without mapped-files ;;
there)
	on B kill -TERM "${LAB_CORD[B]}"
	wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord does not end"
	LAB_CONFIG='[mechanisms]
mapped-files = no' lab_cord B
	lab_mark
	refused 'needs the mechanism mapped-files, which B does not have'
	;;
deleted)
	on A rm /srv/job/data
	refused 'has no name to be found by'
	;;
esac
alive "$TASK_HOST" "$TASK_PID" && finish
lab_end
