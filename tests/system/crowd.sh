# 64 tasks of four threads leave for another host at once, and all arrive. Fewer on an emulated
# machine, which would take hours.
. "$(dirname "$0")/../tasks.sh"

N=64
[ "${COR_TIME_SCALE:-1}" -le 4 ] || N=12
lab_up

# Each verifies 2 MiB, at leisure: there are two hundred and fifty-six threads of them.
# shellcheck disable=SC2016 # on the host
pids=$(on A bash -c '
	cd "$1" && shift
	for ((i = 1; i <= $1; i++)); do
		setsid pattern -p "$i.beat" -w "$i.witness" 2 100 </dev/null >"$i.out" 2>"$i.err" &
		echo $!
	done' start "$LAB_DIR/A" $N)

all_began()
{
	[ "$(find "$LAB_DIR/A" -name '*.beat' -size +0 | wc -l)" -eq $N ]
}
wait_for 60 all_began || fail "only $(find "$LAB_DIR/A" -name '*.beat' -size +0 | wc -l) of $N began"

# shellcheck disable=SC2016,SC2086
on A bash -c '
	cd "$1" && dest=$2 && shift 2
	for pid; do
		cor migrate "$pid" "$dest" --json </dev/null >"$pid.json" 2>"$pid.error" || touch "$pid.failed" &
	done
	wait' go "$LAB_DIR/A" "${LAB_ADDR[B]}:$LAB_PORT" $pids
for pid in $pids; do
	[ ! -e "$LAB_DIR/A/$pid.failed" ] || fail "PID $pid: $(cat "$LAB_DIR/A/$pid.error" "$LAB_DIR/A/$pid.json")"
done
[ "$(on B pgrep -cx pattern)" -eq $N ] || fail "$(on B pgrep -cx pattern) of $N tasks are on B"
! on A pgrep -x pattern >/dev/null || fail "$(on A pgrep -cx pattern) of $N tasks are still on A"

# all of them, in one order
figures()
{
	jq -s "[.[] | $1] | sort | \"median \\(.[length / 2 | floor]), most \\(.[-1])\"" -r "$LAB_DIR"/A/*.json
}
echo "$N tasks: faults, p50 of each task: $(figures .fault_us.p50) us; p99: $(figures .fault_us.p99) us"
echo "$N tasks: freeze: $(figures .freeze_us) us; drain: $(figures .drain_us) us;" \
	"faults: $(figures .pages_demand) pages"

on B pkill -TERM -x pattern
none_left()
{
	! on B pgrep -x pattern >/dev/null
}
wait_for 30 none_left || fail "$(on B pgrep -cx pattern) tasks do not end"
for ((i = 1; i <= N; i++)); do
	grep -q '^ok ' "$LAB_DIR/A/$i.out" || fail "task $i: $(cat "$LAB_DIR/A/$i.out" "$LAB_DIR/A/$i.err")"
	! grep -q TWICE "$LAB_DIR/A/$i.witness" || fail "task $i ran twice"
done
LAB_KIB=65536 lab_end
