# node: code made at run time, a garbage-collected heap, worker threads.
. "$(dirname "$0")/../tasks.sh"
need node
lab_up
start_foreign A node node "$LAB_TOP/tests/programs/compute.js"
go B
rounds 3
go A
rounds 3
finish
lab_end
