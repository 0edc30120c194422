# java: code made at run time, a collector's threads, and its counters in a file that it maps
# shared and writable.
. "$(dirname "$0")/../tasks.sh"
need java javac
LAB_ROOT=own
lab_up
javac -d "$LAB_DIR" "$LAB_TOP/tests/programs/Walk.java"
start_foreign A java java -Xmx128m -cp "$LAB_DIR" Walk
for host in B A B; do
	go $host
	rounds 30
done
finish
lab_end
