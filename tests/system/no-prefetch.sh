# --no-prefetch: only what is referenced moves; the task is right all the same.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A memory anonymous heap stack
migrate A "$TASK_PID" B --no-prefetch --wait resumed || {
	cat "$LAB_DIR/migrate.err" >&2
	fail "cor migrate --no-prefetch"
}
TASK_HOST=B TASK_PID=$MOVED
rounds 5
finish
lab_end
