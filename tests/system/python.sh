# python3 with threads that compute hashes and check them.
. "$(dirname "$0")/../tasks.sh"
need python3
python=$(PATH=/usr/bin:$PATH command -v python3)
lab_up
TASK=python TASK_HOST=A TASK_OUT=$LAB_DIR/A/python
spawn A python "$python" "$LAB_TOP/tests/programs/hashes.py" "$TASK_OUT.beat"
TASK_PID=$SPAWNED
wait_for 30 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "python3 did not begin"; }
go B
rounds 3
go A
rounds 3
finish
lab_end
