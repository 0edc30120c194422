# A task that was swapped out: its pages are served from swap, and its ghost does not come
# back into memory for that.
. "$(dirname "$0")/../tasks.sh"
need python3
python=$(PATH=/usr/bin:$PATH command -v python3)

# Pages of the process, in MiB, that are in memory, or in swap: of_process VmRSS|VmSwap
of_process()
{
	on A sed -n "s/^$1:[[:space:]]*\([0-9]*\) kB/\1/p" "/proc/$GHOST/status" | awk '{ print int($1 / 1024) }'
}

lab_up
if [ "$(awk '/SwapFree/ { print int($2 / 1024) }' /proc/meminfo)" -lt 128 ]; then
	file=$LAB_DIR/swap
	trap 'swapoff "$file" 2>/dev/null; lab_exit' EXIT
	dd if=/dev/zero of="$file" bs=1M count=128 2>/dev/null
	chmod 600 "$file"
	{ mkswap "$file" && swapon "$file"; } >"$LAB_DIR/swap.log" 2>&1 ||
		skip "there is no swap here, nor leave to make some: $(tail -n 1 "$LAB_DIR/swap.log")"
fi
start_foreign A swapped "$python" "$LAB_TOP/tests/programs/swapped.py"
GHOST=$TASK_PID
swapped=$(of_process VmSwap)
[ "$swapped" -ge 40 ] || skip "of 48 MiB only $swapped MiB can be swapped out"
migrate A "$TASK_PID" B --no-prefetch --wait resumed || {
	cat "$LAB_DIR/migrate.err" >&2
	fail "cor migrate --no-prefetch"
}
TASK_HOST=B TASK_PID=$MOVED
on B kill -USR1 "$TASK_PID"
wait_for 60 beat_passed 2 || fail "three quarters of the memory cannot be read"
still=$(of_process VmSwap)
echo "of $swapped MiB in swap, $still MiB are there once 36 MiB were served; $(of_process VmRSS) MiB are in memory"
[ "$still" -ge $((swapped - 8)) ] || fail "the ghost came back into memory"
finish
lab_end
