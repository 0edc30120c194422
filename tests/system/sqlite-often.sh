# A python3 that makes one transaction after the other, and so a journal that is there at one
# moment and not at the next, under one name and at one inode: it is moved again and again.
. "$(dirname "$0")/../tasks.sh"
need python3
python=$(PATH=/usr/bin:$PATH command -v python3)
lab_up
start_foreign A rows "$python" "$LAB_TOP/tests/programs/rows.py" "$LAB_DIR/rows.db"
for _ in 1 2 3 4 5 6 7 8; do
	go B
	rounds 2
	go A
	rounds 2
done
finish
lab_end
