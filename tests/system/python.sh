# python3 with threads that compute hashes and check them.
. "$(dirname "$0")/../tasks.sh"
need python3
python=$(PATH=/usr/bin:$PATH command -v python3)
lab_up
start_foreign A python "$python" "$LAB_TOP/tests/programs/hashes.py"
go B
rounds 3
go A
rounds 3
finish
lab_end
