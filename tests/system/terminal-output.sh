# What is written to a terminal arrives there byte by byte, while the writer moves, and
# before the terminal's own program is told that the writer has ended.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../tmux.sh"
lab_up
cat >"$LAB_DIR/lines.py" <<'END'
import os, sys, time
n = 0
while n % 500 or not os.path.exists(sys.argv[1]):
    print("line", n)
    n += 1
    if n % 500 == 0:
        sys.stdout.flush()
        time.sleep(0.03)
sys.exit(7)
END
spawn A terminal python3 "$LAB_TOP/tests/programs/terminal.py" "$LAB_DIR/said" \
	python3 "$LAB_DIR/lines.py" "$LAB_DIR/enough"
wait_for 10 test -s "$LAB_DIR/said" || fail "the writer does not begin"
TASK_HOST=A
TASK_PID=$(on A pgrep -f "^[^ ]*python3 $LAB_DIR/lines.py")
hop B
sleep 0.3
hop A
sleep 0.3
hop B
sleep 0.3
touch "$LAB_DIR/enough"
wait_for 30 grep -q exited "$LAB_DIR/A/terminal.out" || fail "the terminal waits on"
grep -x 'exited 7' "$LAB_DIR/A/terminal.out" || fail "$(cat "$LAB_DIR/A/terminal.out")"
lines=$(wc -l <"$LAB_DIR/said")
[ "$lines" -ge 500 ] && [ $((lines % 500)) -eq 0 ] || fail "$lines lines were written"
python3 -c 'for n in range('"$lines"'): print("line", n, end="\r\n")' >"$LAB_DIR/right"
cmp "$LAB_DIR/said" "$LAB_DIR/right" || fail "something else was written"
sha256sum "$LAB_DIR/said"
lab_end
