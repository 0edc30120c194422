#!/usr/bin/env python3
"""A program whose memory is in swap: swapped.py BEAT. SIGUSR1: reads three quarters of it.
SIGTERM: reads all and says whether each page is right."""
import mmap
import signal
import struct
import sys

PAGE, PAGES = 4096, 12288
memory = mmap.mmap(-1, PAGE * PAGES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def page(i):
    return struct.pack("<QQ", i, (i * 0x9E3779B97F4A7C15) % 2**64)


def wrong(pages):
    return [i for i in range(pages) if memory[i * PAGE : i * PAGE + 16] != page(i)]


def beat(n):
    with open(sys.argv[1], "w") as f:
        f.write(f"{n}\n")


for i in range(PAGES):
    memory[i * PAGE : i * PAGE + 16] = page(i)
memory.madvise(21)  # MADV_PAGEOUT
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
beat(1)
rounds = 1
while signal.sigwait([signal.SIGUSR1, signal.SIGTERM]) == signal.SIGUSR1:
    bad = wrong(PAGES * 3 // 4)
    rounds += 1 if not bad else 1000
    beat(rounds)
bad = wrong(PAGES)
print(f"FAIL page {bad[0]} and {len(bad) - 1} others" if bad else "ok", PAGES, "pages", flush=True)
