"""visitor.py serve ADDR PORT: gives back what it is sent.
visitor.py visit ADDR PORT FILE: connects there, has a few words given back, closes, and rests,
for as long as it was connected; how often, is in FILE. SIGTERM: "ok"."""
import os
import signal
import socket
import sys
import threading
import time

CONNECTED = RESTING = 0.03


def answer(s):
    with s:
        while data := s.recv(4096):
            s.sendall(data)


def serve(address):
    with socket.create_server(address, backlog=64) as listener:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def say(s, words):
    s.sendall(words)
    got = b""
    while len(got) < len(words):
        more = s.recv(4096)
        if not more:
            sys.exit("the connection ended behind %r" % got)
        got += more
    if got != words:
        sys.exit("%r became %r" % (words, got))


def visit(address, beat):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    rounds = 0
    while not ended:
        with socket.create_connection(address) as s:
            say(s, b"here I am for the %dth time" % rounds)
            time.sleep(CONNECTED)
            say(s, b"and now I go")
        rounds += 1
        os.pwrite(beat, b"%020d\n" % rounds, 0)
        time.sleep(RESTING)
    print("ok visitor: %d visits" % rounds)


where = (sys.argv[2], int(sys.argv[3]))
if sys.argv[1] == "serve":
    serve(where)
else:
    visit(where, os.open(sys.argv[4], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
