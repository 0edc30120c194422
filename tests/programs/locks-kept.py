"""Holds POSIX locks on a file from its first round on, until the file FILE.let-go is there:
python3 locks-kept.py FILE BEAT"""
import fcntl
import os
import sys
import time

data, beat = sys.argv[1:]
go_on = True
file = open(data, "r+b")
again = open(data, "r+b")       # another open file of the same: not to be closed while it locks
fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)
fcntl.lockf(file, fcntl.LOCK_SH, 5, 10)
fcntl.lockf(again, fcntl.LOCK_EX, 0, 100)
rounds = 0
while not os.path.exists(data + ".end"):
    if go_on and os.path.exists(data + ".let-go"):
        fcntl.lockf(again, fcntl.LOCK_UN)
        go_on = False
    rounds += 1
    with open(beat, "w") as f:
        f.write("%d\n" % rounds)
    time.sleep(0.01)
print("ok %d rounds" % rounds)
