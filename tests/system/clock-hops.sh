# CLOCK_MONOTONIC and CLOCK_BOOTTIME over 50 hops between hosts whose clocks differ by
# five hours: they never go back, and no hop makes them leave the pace of real time by as
# much as the shortest freeze.
# timeout: 180
. "$(dirname "$0")/../tasks.sh"
LAB_CLOCK_SHIFT=18000
lab_up
start A clock
to=B shortest=
for ((i = 1; i <= 50; i++)); do
	go $to --wait resumed
	freeze=$(result .freeze_us)
	[ -n "$shortest" ] && [ "$shortest" -le "$freeze" ] || shortest=$freeze
	[ $to = A ] && to=B || to=A
done
rounds 1
finish
jump=$(sed -n 's/.*largest jump \([0-9]*\) us.*/\1/p' "$TASK_OUT.out")
echo "50 hops: shortest freeze $shortest us, largest jump of a clock $jump us"
[ "$jump" -le "$shortest" ] || fail "a clock jumped by $jump us"
lab_end
