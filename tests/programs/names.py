"""names.py FILE: tells by which names it knows its host, as JSON in FILE, again and again.
While FILE.ask exists it starts a program to tell, too."""
import json
import os
import socket
import subprocess
import sys
import time

path = sys.argv[1]
rounds = 0
while True:
    rounds += 1
    names = {"rounds": rounds, "gethostname": socket.gethostname(), "uname": os.uname().nodename}
    with open("/proc/sys/kernel/hostname") as f:
        names["kernel"] = f.read().strip()
    try:
        with open("/etc/machine-id") as f:
            names["machine-id"] = f.read().strip()
    except FileNotFoundError:
        names["machine-id"] = None
    if os.path.exists(path + ".ask"):
        names["child"] = subprocess.run(["uname", "-n"], capture_output=True, text=True).stdout.strip()
    with open(path + ".new", "w") as f:
        json.dump(names, f)
    os.rename(path + ".new", path)
    time.sleep(0.02)
