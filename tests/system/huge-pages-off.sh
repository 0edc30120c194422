# With huge-pages = no the task's memory stays as it came.
. "$(dirname "$0")/../tasks.sh"
LAB_CONFIG='[paging]
huge-pages = no'
lab_up
start A memory thp
go B
[ "$(result .huge_pages)" = 0 ] || fail "huge pages were made though that is switched off"
[ "$(on B awk '/^AnonHugePages/ { kib += $2 } END { print kib }' "/proc/$TASK_PID/smaps")" = 0 ] ||
	fail "there are huge pages though making them is switched off"
rounds 3
finish
lab_end
