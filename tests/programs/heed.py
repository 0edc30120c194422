#!/usr/bin/env python3
"""heed.py LOG: takes signals one by one and writes each into LOG, with its code and who
sent it; SIGTERM makes it exit with 5."""
import signal
import sys

SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
           signal.SIGTERM, signal.SIGRTMIN, signal.SIGRTMIN + 3}
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
with open(sys.argv[1], "w", buffering=1) as log:
    print("begins", file=log)
    while True:
        info = signal.sigwaitinfo(SIGNALS)
        print(info.si_signo, info.si_code, info.si_pid, file=log)
        if info.si_signo == signal.SIGTERM:
            sys.exit(5)
