# A shell's background jobs: wait gives their exit status, kill %N reaches them.
. "$(dirname "$0")/../tasks.sh"
lab_up
cat >"$LAB_DIR/jobs.sh" <<'END'
set -m
cd "$1"
threads -p one.beat >one.out 2>&1 &
tls -p two.beat >two.out 2>&1 &
sh -c 'read -r line <go; exit "$line"' &
jobs -p >pids.new && mv pids.new pids
set -- "$1" "$(jobs -p %2)"
wait %3
echo "third $?"
kill %1
wait %1
echo "first $?"
# The shell is to be waiting by then: of a job that is known to be dead bash says 127.
(sleep 0.3; kill -KILL "$2") &
wait %2
echo "second $?"
END
mkfifo "$LAB_DIR/go"
spawn A jobs bash "$LAB_DIR/jobs.sh" "$LAB_DIR"
wait_for 10 test -s "$LAB_DIR/two.beat" || fail "the jobs do not begin"
wait_for 10 test -s "$LAB_DIR/pids" || fail "the jobs do not begin"
mapfile -t pids <"$LAB_DIR/pids"
move A "${pids[0]}" B
move A "${pids[1]}" B
on A bash -c 'echo 23 >"$1"' go "$LAB_DIR/go"
out=$LAB_DIR/A/jobs.out
wait_for 20 grep -q second "$out" || { cat "$out" "$LAB_DIR"/A/jobs.err >&2; fail "the shell waits on"; }
cat "$out"
[ "$(cat "$out")" = "third 23
first 0
second 137" ] || fail "the statuses are wrong"
grep -q '^ok threads' "$LAB_DIR/one.out" || fail "$(cat "$LAB_DIR/one.out")"
lab_end
