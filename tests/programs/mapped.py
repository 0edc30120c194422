"""A file mapped shared and writable: mapped.py FILE PROGRESS-FILE [lock]

Stores a growing number in it, and checks what it stored before; lock: with a lock of its first
byte, as a database has.
"""
import fcntl
import mmap
import signal
import struct
import sys
import time

COUNT = 8192

path, progress = sys.argv[1:3]
over = False


def end(*_):
    global over
    over = True


signal.signal(signal.SIGTERM, end)
with open(path, "w+b") as file:
    file.truncate(8 * COUNT)
    area = mmap.mmap(file.fileno(), 8 * COUNT)
    if sys.argv[3:] == ["lock"]:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1)
    n = 0
    while not over:
        for i in range(n % 16, COUNT, 16):
            was = struct.unpack_from("<Q", area, 8 * i)[0]
            if was != max(n - 15, 0) and not (n < 16 and was == 0):
                print("FAIL mapped.py: word %d is %d in round %d" % (i, was, n))
                sys.exit(1)
            struct.pack_into("<Q", area, 8 * i, n + 1)
        n += 1
        with open(progress, "w") as out:
            out.write("%020d\n" % n)
        time.sleep(0.005)
    area.flush()
print("ok mapped.py: %d rounds" % n)
