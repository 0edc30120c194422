# A sqlite3 job on a database that exists only on the home: the result is the same, a
# second sqlite3 on the home and it keep out of each other's way, and the database is
# sound in the end.
. "$(dirname "$0")/../tasks.sh"
need sqlite3 python3
LAB_ROOT=own
lab_up
on A mkdir -p /srv/db
on A sqlite3 /srv/db/test.db "CREATE TABLE t(who TEXT, n INTEGER); CREATE TABLE c(n INTEGER);
	INSERT INTO c VALUES (0);"
# each adds rows and counts them in one transaction, so a lost update shows
on A sh -c 'cat >/srv/db/job.py' <<'END'
import os, sqlite3, sys, time
who, rounds, beat = sys.argv[1], int(sys.argv[2]), sys.argv[3]
db = sqlite3.connect("/srv/db/test.db", timeout=30, isolation_level=None)
for i in range(rounds):
    db.execute("BEGIN IMMEDIATE")
    n = db.execute("SELECT n FROM c").fetchone()[0]
    db.execute("INSERT INTO t VALUES (?, ?)", (who, n))
    db.execute("UPDATE c SET n = ?", (n + 1,))
    db.execute("COMMIT")
    with open(beat, "w") as f:
        f.write("%d\n" % (i + 1))
    time.sleep(0.003)
print("done", who, flush=True)
END
job()   # NAME ROUNDS
{
	# shellcheck disable=SC2016
	on A bash -c 'cd /srv/db; setsid python3 job.py "$1" "$2" "$3" </dev/null >"$1.out" 2>"$1.err" & echo $!' \
		job "$1" "$2" "$LAB_DIR/$1.beat"
}
passed() { [ -s "$LAB_DIR/$1.beat" ] && [ "$(cat "$LAB_DIR/$1.beat")" -ge "$2" ] 2>/dev/null; }
far=$(job far 300)
near=$(job near 300)
wait_for 20 passed far 20 || { on A cat /srv/db/far.err >&2; fail "the job did not begin"; }
move A "$far" B
at=$(cat "$LAB_DIR/far.beat")
wait_for 60 passed far $((at + 30)) || { on A cat /srv/db/far.err >&2; fail "it does not go on"; }
wait_for 60 gone A "$near" || fail "the job on the home does not end"
wait_for 60 gone B "$MOVED" || fail "the job that was moved does not end"
for who in far near; do
	on A grep -q "done $who" /srv/db/$who.out || {
		on A cat /srv/db/$who.err >&2
		fail "the job $who failed"
	}
done
# shellcheck disable=SC2016
result=$(on A sqlite3 /srv/db/test.db 'PRAGMA integrity_check; SELECT n FROM c;
	SELECT count(*), count(DISTINCT n), min(n), max(n) FROM t;')
[ "$result" = "ok
600
600|600|0|599" ] || fail "the database is: $result"
lab_end
