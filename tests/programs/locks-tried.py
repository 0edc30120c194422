"""Tries to have what locks-kept.py has, without a pause, until OUT.end is there, and says in OUT how
often it could; OUT.begun is there when it has tried: python3 locks-tried.py FILE OUT"""
import fcntl
import os
import sys

data, out = sys.argv[1:]
file = open(data, "r+b")
had = tries = 0
while not os.path.exists(out + ".end"):
    for _ in range(200):
        for at in 0, 12, 100:
            tries += 1
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
            except OSError:
                continue
            had += 1
            fcntl.lockf(file, fcntl.LOCK_UN, 1, at)
    if tries == 600:
        open(out + ".begun", "w").close()
with open(out, "w") as f:
    f.write("%d of %d\n" % (had, tries))
