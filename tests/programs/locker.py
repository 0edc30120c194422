"""locker.py FILE BEAT: holds a POSIX lock on FILE for half of the time, as a program does that
makes one transaction after the other; how often, is in BEAT. SIGTERM: "ok"."""
import fcntl
import os
import signal
import sys
import time

ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
beat = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
rounds = 0
while not ended:
    fcntl.lockf(fd, fcntl.LOCK_EX, 100, 0)
    time.sleep(0.015)
    fcntl.lockf(fd, fcntl.LOCK_UN, 100, 0)
    rounds += 1
    os.pwrite(beat, b"%020d\n" % rounds, 0)
    time.sleep(0.015)
print("ok locker: %d times" % rounds)
