# java: code made at run time, a collector's threads, and its counters in a file that it maps
# shared and writable.
. "$(dirname "$0")/../tasks.sh"
need java javac
LAB_ROOT=own
lab_up
javac -d "$LAB_DIR" "$LAB_TOP/tests/programs/Walk.java"
TASK=java TASK_HOST=A TASK_OUT=$LAB_DIR/A/java
spawn A java java -Xmx128m -cp "$LAB_DIR" Walk "$TASK_OUT.beat"
TASK_PID=$SPAWNED
wait_for 30 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "java did not begin"; }
for host in B A B; do
	go $host
	rounds 30
done
finish
lab_end
