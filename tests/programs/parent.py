#!/usr/bin/env python3
"""parent.py LOG COMMAND...: starts COMMAND, writes its PID and then a line for all that
wait(2) tells of it into LOG: "stopped 19", "continued", "exited 0", "killed 15"."""
import os
import sys

with open(sys.argv[1], "a", buffering=1) as log:
    pid = os.fork()
    if pid == 0:
        os.execvp(sys.argv[2], sys.argv[2:])
    print(pid, file=log)
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED | os.WCONTINUED)
        if os.WIFSTOPPED(status):
            print("stopped", os.WSTOPSIG(status), file=log)
        elif os.WIFCONTINUED(status):
            print("continued", file=log)
        elif os.WIFSIGNALED(status):
            print("killed", os.WTERMSIG(status), file=log)
            break
        else:
            print("exited", os.WEXITSTATUS(status), file=log)
            break
