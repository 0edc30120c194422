# short
# After the drain nothing of cor is left in the task's memory: no mapping in pieces, none
# registered, and huge pages where there were some.
. "$(dirname "$0")/../tasks.sh"

# sum HOST PID FIELD: of smaps, in KiB.
sum()
{
	on "$1" awk -v field="$3:" '$1 == field { kib += $2 } END { print kib + 0 }' "/proc/$2/smaps"
}

# Mappings of "$1" that lie in more than one of "$2". Those that grow by themselves do not
# count, nor a private mapping of shared memory, whose written pages become anonymous.
pieces()
{
	awk 'function n(s) { return strtonum("0x" s) }
		{ split($1, a, "-") }
		FNR == NR { from[++now] = n(a[1]); to[now] = n(a[2]); next }
		$6 ~ /^\[/ || $6 ~ /memfd:private/ || n(a[2]) == n("100000001000") { next }
		{
			for (i = 1; i <= now; i++)
				if (from[i] <= n(a[1]) && to[i] >= n(a[2]))
					next
			print
		}' "$2" "$1"
}

lab_up
start A memory
on A cat "/proc/$TASK_PID/maps" >"$LAB_DIR/before"
huge=$(sum A "$TASK_PID" AnonHugePages)
go B
on B cat "/proc/$TASK_PID/maps" >"$LAB_DIR/after"
[ -z "$(pieces "$LAB_DIR/before" "$LAB_DIR/after")" ] ||
	fail "mappings are in pieces: $(pieces "$LAB_DIR/before" "$LAB_DIR/after")"
! on B grep -q '^VmFlags:.* um' "/proc/$TASK_PID/smaps" || fail "a mapping is still registered"
echo "huge pages: $huge KiB on A, $(sum B "$TASK_PID" AnonHugePages) KiB on B"
[ "$(result .huge_pages)" -eq $((huge / 2048)) ] ||
	fail "of $huge KiB in huge pages $(result .huge_pages) were made again"
[ "$(sum B "$TASK_PID" AnonHugePages)" -ge "$huge" ] || fail "not all of $huge KiB are in huge pages"
rounds 3
finish
lab_end
