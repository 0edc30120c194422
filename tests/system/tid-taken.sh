# A thread that is born behind the look at the task keeps its number where the destination has
# given that to somebody else meanwhile.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
need python3
need_fault_points
lab_hold lanes
lab_up
# numbers that nobody has on B: it is made ahead, in the PID namespace of the host
on A sh -c 'echo 5000 >/proc/sys/kernel/ns_last_pid'
start_foreign A born "$(PATH=/usr/bin:$PATH command -v python3)" "$LAB_TOP/tests/programs/born.py"
rounds 2
migrate A "$TASK_PID" B &
migration=$!
await_held lanes
on A kill -USR1 "$TASK_PID"
tid()
{
	# shellcheck disable=SC2016 # there
	on A sh -c 'ls "/proc/$1/task" | grep -vx "$1"' sh "$TASK_PID"
}
wait_for 5 tid >/dev/null || fail "it makes no thread"
tid=$(tid)
# shellcheck disable=SC2016 # there
taken=$(on B sh -c 'echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid
	sleep 1000 </dev/null >/dev/null 2>&1 & echo $!' sh "$tid")
[ "$taken" = "$tid" ] || fail "TID $tid could not be taken, only $taken"
lab_release lanes
wait "$migration" || fail "$(cat "$LAB_DIR/migrate.err")"
TASK_HOST=B TASK_PID=$(result .destination_pid)
[ "$(result .built_ahead)" = false ] || fail "it was built ahead, without its new thread"
rounds 5
finish
on B kill "$taken" || fail "the process that had the number is gone"
lab_end
