#!/usr/bin/env python3
# rows.py DATABASE BEAT: transactions on a table, one after the other, each row with its hash,
# until SIGTERM; "ok", or "FAIL" and what.
import hashlib, os, random, signal, sqlite3, sys

stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB, h TEXT)")
want = {}
rounds = 0
while not stop:
    db.execute("BEGIN")
    for _ in range(20):
        k, v = random.randrange(2000), os.urandom(random.randrange(3000))
        want[k] = hashlib.sha1(v).hexdigest()
        db.execute("INSERT OR REPLACE INTO t VALUES(?, ?, ?)", (k, v, want[k]))
    db.execute("COMMIT")
    first = rounds % 1900
    for k, v, h in db.execute("SELECT * FROM t WHERE k BETWEEN ? AND ?", (first, first + 50)):
        if hashlib.sha1(v).hexdigest() != h or want[k] != h:
            sys.exit(print("FAIL row %d is another" % k, flush=True) or 1)
    rounds += 1
    with open(sys.argv[2], "w") as beat:
        beat.write("%d\n" % rounds)
sound = db.execute("PRAGMA integrity_check").fetchone()[0]
n = db.execute("SELECT count(*) FROM t").fetchone()[0]
good = sound == "ok" and n == len(want)
print("%s rows: %d in %d transactions, %s" % ("ok" if good else "FAIL", n, rounds, sound), flush=True)
