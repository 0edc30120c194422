"""udp_echo.py serve HOST PORT: sends each datagram back to where it came from.
udp_echo.py ask HOST PORT N: asks N times, one at a time, with a number in each datagram, and
prints the median and the longest wait in milliseconds, and how many had no answer in a
second."""
import socket
import statistics
import sys
import time

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if role == "serve":
    s.bind((host, port))
    while True:
        data, sender = s.recvfrom(65536)
        s.sendto(data, sender)

s.connect((host, port))
s.settimeout(1)
waits, lost = [], 0
for n in range(int(sys.argv[4])):
    began = time.monotonic()
    s.send(b"%d" % n)
    try:
        while s.recv(65536) != b"%d" % n:
            pass
        waits.append((time.monotonic() - began) * 1000)
    except socket.timeout:
        lost += 1
print(f"{statistics.median(waits):.3f} {max(waits):.3f} {lost}" if waits else f"- - {lost}")
