"""asker.py KIND ADDR PORT [PATH] FILE: asks a server without pause, on as few connections as its
protocol needs, and looks at each answer; how many, is in FILE. SIGTERM: "ok".

    http        two requests on one connection: for the file PATH, and for its length
    mqtt        a message of its own, through the broker (mosquitto_sub, mosquitto_pub)
    dns         the address of a.example.com, 192.0.2.7
    sql         writes a row and reads all of them (pymysql)
"""
import hashlib
import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import time

TIMEOUT = 30


def http_asker(address, path):
    with open(path, "rb") as f:
        want = hashlib.sha256(f.read()).digest()
    size = os.path.getsize(path)
    c = http.client.HTTPConnection(*address, timeout=TIMEOUT)
    where = "/" + os.path.basename(path)

    def ask(_):
        c.request("GET", where)
        if hashlib.sha256(c.getresponse().read()).digest() != want:
            sys.exit("a wrong file")
        c.request("HEAD", where)
        answer = c.getresponse()
        answer.read()
        if int(answer.getheader("Content-Length")) != size:
            sys.exit("a wrong length")
    return ask


def mqtt_asker(address):
    to = ["-h", address[0], "-p", str(address[1]), "-t", "here", "-q", "2"]
    # kept by the broker: who hears it has subscribed
    subprocess.run(["mosquitto_pub", "-r", "-m", "begin", *to], check=True)
    hears = subprocess.Popen(["mosquitto_sub", *to], stdout=subprocess.PIPE, text=True)
    hears.stdout.readline()
    says = subprocess.Popen(["mosquitto_pub", "-l", *to], stdin=subprocess.PIPE, text=True)

    def ask(n):
        said = "message %d\n" % n
        says.stdin.write(said)
        says.stdin.flush()
        if (heard := hears.stdout.readline()) != said:
            sys.exit("%r became %r" % (said, heard))
    ask.ends = (says, hears)
    return ask


def dns_asker(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(TIMEOUT / 10)

    def answer_to(question):
        for _ in range(10):
            s.sendto(question, address)
            try:
                return s.recv(512)
            except socket.timeout:
                pass            # a datagram may be lost in a move
        sys.exit("no answer")

    def ask(n):
        head = struct.pack(">6H", n & 0xffff, 0x100, 1, 0, 0, 0)
        answer = answer_to(head + b"\x01a\x07example\x03com\0" + struct.pack(">2H", 1, 1))
        while answer[:2] != head[:2]:           # to one that was asked again
            answer = s.recv(512)
        if answer[-4:] != bytes([192, 0, 2, 7]):
            sys.exit("a wrong address: %r" % answer)
    return ask


def sql_asker(address):
    import pymysql
    c = pymysql.connect(host=address[0], port=address[1], user="u", database="d",
                        charset="latin1", autocommit=True)
    k = c.cursor()

    def ask(n):
        k.execute("insert into t values (%d, repeat(md5(%d), 6))" % (n, n))
        k.execute("select count(*), sum(v = repeat(md5(i), 6)) from t")
        if (got := k.fetchone()) != (n + 1, n + 1):
            sys.exit("of %d rows it has %r" % (n + 1, got))
    return ask


def main():
    kind, address, port, *path, beat = sys.argv[1:]
    begin = {"http": http_asker, "mqtt": mqtt_asker, "dns": dns_asker, "sql": sql_asker}[kind]
    ended = []
    ask = begin((address, int(port)), *path)
    beat = os.open(beat, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    asked, longest = 0, 0.0
    while not ended:
        begun = time.monotonic()
        ask(asked)
        longest = max(longest, time.monotonic() - begun)
        asked += 1
        os.pwrite(beat, b"%020d\n" % asked, 0)
        time.sleep(0.002)
    for p in getattr(ask, "ends", ()):
        p.terminate()
        p.wait()
    print("ok asker: %d answers, the longest wait %.0f ms" % (asked, longest * 1000))


main()
