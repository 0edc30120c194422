# A task whose files are at its home is settled: they are copied to where it is, and it
# needs its home no more, which may go.
. "$(dirname "$0")/../tasks.sh"
LAB_ROOT=own
lab_up
on A mkdir -p /srv/job
start_in A /srv/job files regular
go B
rounds 3
on B cor status --json | jq -e '.tasks[0].needs[0].what == "files"' >/dev/null ||
	fail "it needs nothing: $(on B cor status --json)"
on B cor settle "$TASK_PID" --json >"$LAB_DIR/settled" || fail "cor settle: $(cat "$LAB_DIR/settled")"
TASK_PID=$(jq -e .destination_pid "$LAB_DIR/settled") || fail "$(cat "$LAB_DIR/settled")"
jq -e '.files_copied == 3' "$LAB_DIR/settled" >/dev/null || fail "$(cat "$LAB_DIR/settled")"
rounds 3
free() { on B cor status --json | jq -e '[.tasks[] | select(.state == "running") | .needs] == [[]]' >/dev/null; }
wait_for 5 free || fail "a tie is left: $(on B cor status --json)"
served() { on A cor status --json | jq -e '.served == []' >/dev/null; }
wait_for 5 served || fail "A serves files still: $(on A cor status --json)"
on B cor settle "$TASK_PID" | grep -q 'needs nothing' || fail "it needs something still"
on A kill -KILL "${LAB_CORD[A]}"
rounds 3
finish_in B
