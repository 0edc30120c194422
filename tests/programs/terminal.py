#!/usr/bin/env python3
"""terminal.py LOG COMMAND...: runs COMMAND in a terminal of its own, writes all that it
says into LOG, and then "exited N" to standard output."""
import os
import pty
import sys

pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
with open(sys.argv[1], "wb", buffering=0) as log:
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        log.write(data)
print("exited", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
