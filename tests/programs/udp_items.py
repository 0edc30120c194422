"""udp_items.py HOST PORT PROGRESS: sets and gets values of memcached over UDP, one request
at a time, and verifies them, until SIGTERM. PROGRESS has the number of requests. Prints how
many there were, how many had no answer within two seconds, and the longest wait."""
import signal
import socket
import struct
import sys
import time

host, port, progress = sys.argv[1], int(sys.argv[2]), sys.argv[3]
mine = socket.gethostname().encode()    # there may be another client
stopping = False


def stop(number, frame):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.connect((host, port))
server.settimeout(2)
asked = lost = 0
longest = 0.0


def ask(text):
    """The answer: all the datagrams that it consists of, in order; None: it did not come."""
    global asked, lost, longest
    asked = asked % 65535 + 1
    began = time.monotonic()
    server.send(struct.pack(">HHHH", asked, 0, 1, 0) + text)
    parts, total = {}, 1
    while len(parts) < total:
        try:
            data = server.recv(65536)
        except socket.timeout:
            lost += 1
            return None
        request, number, total, _ = struct.unpack(">HHHH", data[:8])
        if request == asked:
            parts[number] = data[8:]
    longest = max(longest, time.monotonic() - began)
    return b"".join(parts[i] for i in range(total))


n = first = 500
while not stopping:
    key = mine + b"%d" % (n % 50)
    value = ((b"%d " % n) * (n % 3000 + 1))[:6000]
    if ask(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value)) not in (None, b"STORED\r\n"):
        sys.exit(f"FAIL set {n - first} was refused")
    # mostly more than memcached puts into one datagram
    got = ask(b"get %s\r\n" % key)
    if got not in (None, b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)):
        sys.exit(f"FAIL another value in round {n - first}")
    n += 1
    with open(progress, "w") as f:
        f.write(f"{n - first}\n")
print(f"ok {2 * (n - first)} requests, {lost} without an answer, the longest took {longest * 1000:.0f} ms")
