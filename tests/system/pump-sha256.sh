# A shell's `sha256sum <fifo | tee file` while somebody feeds the FIFO: sha256sum moves in
# mid-stream, then tee moves too, and what comes out is what it would have been.
. "$(dirname "$0")/../tasks.sh"
need sha256sum tee python3
lab_up A B C
mib=48
dir=$LAB_DIR/A
head -c ${mib}M /dev/urandom >"$dir/data"
on A mkfifo "$dir/fifo"
cat >"$dir/feed.py" <<'END'
import os, sys, time
data, beat = open(sys.argv[1], "rb"), sys.argv[2]
with open(sys.argv[3], "wb", buffering=0) as out:
    while chunk := data.read(65536):
        out.write(chunk)
        with open(beat, "w") as f:
            f.write("%d\n" % (data.tell() >> 20))
        time.sleep(0.004)
END
# shellcheck disable=SC2016
spawn A shell bash -c 'sha256sum <"$1/fifo" | tee "$1/sum"; echo "status ${PIPESTATUS[*]}" >"$1/status"' shell "$dir"
shell=$SPAWNED
spawn A feed python3 "$dir/feed.py" "$dir/data" "$dir/fed" "$dir/fifo"
fed() { local n=0; read -r n <"$dir/fed" || :; echo $((10#${n:-0})); } 2>/dev/null
fed_past() { [ -s "$dir/fed" ] && [ "$(fed)" -ge "$1" ]; }
child() { on A pgrep -P "$shell" -x "$1"; }
wait_for 20 fed_past 8 || fail "the stream does not begin"
move A "$(child sha256sum)" B --wait resumed
freeze=$(result .freeze_us) at=$(fed)
sum_pid=$MOVED
alive B "$sum_pid" || fail "sha256sum is not on B"
wait_for 30 fed_past $((at + 8)) || fail "the stream stands still behind the move"
move A "$(child tee)" C
tee_at=$(fed)
[ "$tee_at" -lt $mib ] || fail "it was no longer in mid-stream"
wait_for 60 grep -qs status "$dir/status" || {
	on B ps -eo pid,stat,wchan,args >&2
	fail "the pipeline does not end"
}
want=$(sha256sum <"$dir/data")
[ "$(cat "$dir/sum")" = "$want" ] || fail "the sum is another"
[ "$(cat "$dir/shell.out")" = "$want" ] || fail "tee's other output is another"
[ "$(cat "$dir/status")" = "status 0 0" ] || fail "the shell was told: $(cat "$dir/status")"
echo "$mib MiB: sha256sum moved at $at MiB (freeze $freeze us), tee at $tee_at MiB; the sum is right"
wait_for 5 gone B "$sum_pid" || fail "sha256sum does not end"
lab_end
