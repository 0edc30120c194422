# sqlite3 on a file: a transaction that is open during the move is committed
# behind it. Its statements come through a named pipe that it holds itself.
. "$(dirname "$0")/../tasks.sh"
need sqlite3
lab_up
dir=$LAB_DIR/A
mkfifo "$dir/sql"
# shellcheck disable=SC2016
spawn A sqlite sh -c 'exec sqlite3 -batch test.db <>sql'
pid=$SPAWNED
host=A

# sql TEXT WANT: and waits until the last line that sqlite3 has written is WANT.
answered() { [ "$(tail -n 1 "$dir/sqlite.out")" = "$1" ]; }
sql()
{
	printf '%s\n' "$1" >"$dir/sql"
	wait_for 30 answered "$2" || {
		cat "$dir/sqlite.out" "$dir/sqlite.err" >&2
		fail "on $host: $1"
	}
}

fill="INSERT INTO t(v) WITH RECURSIVE c(x) AS
	(SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000) SELECT x * 3 FROM c;"
sql "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER); $fill SELECT 'filled', sum(v) FROM t;" \
	"filled|15000150000"
sql "BEGIN; UPDATE t SET v = v + 1; SELECT 'changed', sum(v) FROM t;" "changed|15000250000"
move A "$pid" B
host=B
sql "SELECT 'moved', sum(v) FROM t;" "moved|15000250000"
sql "COMMIT; SELECT 'kept', count(*) FROM t WHERE v = id * 3 + 1;" "kept|100000"
sql "BEGIN; DELETE FROM t WHERE id % 2; SELECT 'halved', count(*) FROM t;" "halved|50000"
move B "$MOVED" A
host=A
sql "ROLLBACK; SELECT 'back', count(*) FROM t;" "back|100000"
sql "PRAGMA integrity_check;" "ok"
printf '.quit\n' >"$dir/sql"
wait_for 5 gone A "$MOVED" || fail "sqlite3 does not end"
[ ! -s "$dir/sqlite.err" ] || fail "sqlite3 said: $(cat "$dir/sqlite.err")"
lab_end
