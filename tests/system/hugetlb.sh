# short
# Private huge pages move; where the task goes they are transparent ones.
. "$(dirname "$0")/../tasks.sh"
pool=/proc/sys/vm/nr_overcommit_hugepages
before=$(<$pool)

restore()
{
	echo "$before" >$pool
}

if ! echo $((before + 8)) 2>/dev/null >$pool; then
	skip "no huge pages can be had: $pool cannot be written"
fi
lab_up
trap 'restore; lab_exit' EXIT
start A hugetlb
go B
wait_for 10 test "$(result .huge_pages)" -ge 4 || fail "$(result .huge_pages) huge pages came"
rounds 3
on B awk '$1 == "AnonHugePages:" { kib += $2 } END { exit kib < 8192 }' "/proc/$MOVED/smaps" ||
	fail "its memory is not in huge pages"
go A
rounds 3
finish
lab_end
