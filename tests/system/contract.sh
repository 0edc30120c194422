# short
# The result of cor migrate --json has all that scripts rely on.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A memory anonymous
pid=$TASK_PID
go B
for key in freeze_us drain_us pages pages_demand pages_prefetched pages_zero bytes_wire \
	   fault_us.p50 fault_us.p90 fault_us.p99 fault_us.max pid destination_pid; do
	result ".$key | numbers" >/dev/null || fail "no number $key: $(cat "$LAB_DIR/migrate.json")"
done
[ "$(result .pid)" = "$pid" ] || fail "pid is $(result .pid) instead of $pid"
[ "$(result .freeze_us)" -gt 0 ] || fail "freeze_us is not positive"
[ "$(result .pages)" -ge 1024 ] || fail "4 MiB were touched, but pages is $(result .pages)"
for tool in cor cord; do
	on A $tool --version | grep -qE '[0-9]+\.[0-9]+' || fail "$tool --version"
	on A $tool --help | grep -qi usage || fail "$tool --help"
done
on A cor check --json | jq -e . >/dev/null || fail "cor check --json"
finish
lab_end
