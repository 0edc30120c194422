"""Threads compute chains of hashes over a table; verified at the end by computing again.

hashes.py PROGRESS-FILE
"""
import hashlib
import signal
import sys
import threading

THREADS = 4
stop = threading.Event()
table = {i: hashlib.sha256(b"%d" % i).hexdigest() for i in range(200000)}
chains = [None] * THREADS


def chain(thread, links):
    """The chain's value behind so many links; endless when links is None."""
    state = b"thread %d" % thread
    n = 0
    while links is None and not stop.is_set() or links is not None and n < links:
        key = int.from_bytes(state[:4], "little") % len(table)
        state = hashlib.sha256(state + table[key].encode()).digest()
        n += 1
    return state, n


def work(thread):
    chains[thread] = chain(thread, None)


def main():
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    for t in threads:
        t.start()
    rounds = 0
    while not stop.wait(0.05):
        rounds += 1
        with open(sys.argv[1], "w") as f:
            f.write("%020d\n" % rounds)
    for t in threads:
        t.join()
    for i in range(THREADS):
        if chain(i, chains[i][1]) != chains[i]:
            print("FAIL hashes: chain of thread %d" % i)
            return 1
    for i, digest in table.items():
        if hashlib.sha256(b"%d" % i).hexdigest() != digest:
            print("FAIL hashes: table entry %d" % i)
            return 1
    print("ok hashes: %d links in %d threads (%d rounds)"
          % (sum(n for _, n in chains), THREADS, rounds))
    return 0


sys.exit(main())
