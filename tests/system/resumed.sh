# --wait resumed returns while pages are on their way; the task is right all the
# same, and another move meanwhile is made or refused, but never goes wrong.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A pattern 256
move A "$TASK_PID" B --wait resumed
TASK_HOST=B TASK_PID=$MOVED
status=0
migrate B "$TASK_PID" A || status=$?
case $status in
0) TASK_HOST=A TASK_PID=$MOVED ;;
1) echo "refused: $(cat "$LAB_DIR/migrate.err")" ;;
*) fail "exit status $status" ;;
esac
rounds 3
finish
lab_end
