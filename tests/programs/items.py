"""Fills a memcached with known items, or verifies them.

items.py fill|verify HOST PORT
"""
import hashlib
import socket
import sys

COUNT = 12000


def value(i):
    return hashlib.sha256(b"item %d" % i).digest() * (1 + i % 512)


def main():
    what, host, port = sys.argv[1:]
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        stream = sock.makefile("rwb")
        for i in range(COUNT):
            v = value(i)
            if what == "fill":
                stream.write(b"set item%d 0 0 %d\r\n%s\r\n" % (i, len(v), v))
                want = b"STORED\r\n"
            else:
                stream.write(b"get item%d\r\n" % i)
                want = b"VALUE item%d 0 %d\r\n%s\r\nEND\r\n" % (i, len(v), v)
            stream.flush()
            got = stream.read(len(want))
            if got != want:
                sys.exit("item %d: wrong answer %r..." % (i, got[:40]))


main()
