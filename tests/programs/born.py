"""born.py BEAT: counts in BEAT; at SIGUSR1 it makes another thread. Each keeps its number."""
import os
import signal
import sys
import threading
import time

wrong = []
ending = False
born = []


def live():
    tid = threading.get_native_id()
    born.append(tid)
    while not ending:
        if threading.get_native_id() != tid:
            wrong.append(tid)
        time.sleep(0.001)


def another(*_):
    threading.Thread(target=live).start()


def end(*_):
    global ending
    ending = True


signal.signal(signal.SIGUSR1, another)
signal.signal(signal.SIGTERM, end)
pid, beat = os.getpid(), 0
while not ending:
    for tid in born:
        # as others see it, too
        if not os.path.exists(f"/proc/self/task/{tid}") and os.path.exists("/proc/self/task"):
            wrong.append(tid)
    if os.getpid() != pid:
        wrong.append(pid)
    beat += 1
    with open(sys.argv[1], "w") as f:
        f.write(f"{beat}\n")
    time.sleep(0.005)
print(f"FAIL {sorted(set(wrong))} have other numbers" if wrong else f"ok {len(born)} threads")
