#!/usr/bin/env python3
"""A stranger that knows which pump there is, but not its secret, wants to be its peer:
ADDR PORT IDENTITY clear|tls. Succeeds if it is refused."""
import socket
import struct
import sys

ADDR, PORT, IDENTITY, HOW = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), sys.argv[4]
PUMP, HELLO, ATTACH, AWAY = 5, 1, 2, 1

sock = socket.create_connection((ADDR, PORT), timeout=20)
sock.sendall(struct.pack("<8sHBBB3x16s32x", b"corpage", 1, PUMP, 0, HOW == "tls", IDENTITY))
magic, version, status = struct.unpack("<4sHh", sock.recv(8, socket.MSG_WAITALL))
print("answer", magic, version, status)
if HOW == "clear":
    sys.exit(0 if status == -126 else 1)    # ENOKEY
if status != 0:
    sys.exit(1)
# no handshake: straight to what a pump would say
sock.sendall(struct.pack("<BBHIQ", HELLO, AWAY, 0, 8, 0) + struct.pack("<HhI", 1, 0, 1000))
sock.sendall(struct.pack("<BBHIQ", ATTACH, 0, 0, 0, 1000))
try:
    got = sock.recv(4096)
    while got and not got.startswith(bytes([HELLO])):
        print("it says", got)
        got = sock.recv(4096)
except ConnectionError:
    got = b""
sys.exit(1 if got else 0)
