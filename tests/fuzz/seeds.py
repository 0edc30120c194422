#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets' corpora: seeds.py DIRECTORY BUILD.

Texts of /proc are this process's own, cut short where they are long; images and
tables of descriptors are those of tests/programs/timers and of a process made for
it (capture_seeds); the rest is put together after docs/protocol.md. Findings in
the same directories stay.
"""
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

top, build = sys.argv[1:3]
PAGE = 4096


def seed(target, name, data):
    if isinstance(data, str):
        data = data.encode()
    os.makedirs(f"{top}/{target}", exist_ok=True)
    with open(f"{top}/{target}/seed-{name}", "wb") as f:
        f.write(data)


def proc(name, lines=None):
    with open(f"/proc/self/{name}") as f:
        text = f.readlines()
    return "".join(text[:lines])


def kernel_texts():
    seed("procfs_maps", "maps", proc("maps", 8))
    seed("procfs_maps", "maps-end", "".join(proc("maps").splitlines(True)[-5:]))
    seed("procfs_maps", "smaps", proc("smaps", 60))
    seed("vma", "maps", struct.pack("<Q", 0) + proc("maps", 8).encode())
    seed("procfs_status", "status", proc("status"))
    seed("procfs_status", "stat", proc("stat"))
    seed("procfs_misc", "timens", proc("timens_offsets"))
    seed("procfs_misc", "sched", proc("sched"))
    seed("procfs_misc", "children", "12 345 6789 \n")
    seed("procfs_misc", "timers", timers())


def timers():
    """Two POSIX timers of this process, as /proc shows them."""
    libc = ctypes.CDLL(None, use_errno=True)
    for signo, notify in ((10, 0), (12, 4)):
        event = struct.pack("<Qiii44x", 0x7F00DEADBEEF, signo, notify, os.getpid())
        timer = ctypes.c_void_p()
        libc.timer_create(1, event, ctypes.byref(timer))
    return proc("timers")


def descriptors():
    eventfd = os.eventfd(5, os.EFD_SEMAPHORE)
    seed("fdinfo", "eventfd", proc(f"fdinfo/{eventfd}"))
    epoll = select.epoll()
    epoll.register(eventfd, select.EPOLLIN)
    epoll.register(os.pipe()[0], select.EPOLLIN | select.EPOLLET)
    seed("fdinfo", "epoll", proc(f"fdinfo/{epoll.fileno()}"))
    with open("/tmp", "rb", opener=lambda p, f: os.open(p, os.O_TMPFILE | os.O_RDWR)) as f:
        fcntl.lockf(f, fcntl.LOCK_SH, 10, 5)
        fcntl.flock(f, fcntl.LOCK_EX)
        seed("fdinfo", "locks", proc(f"fdinfo/{f.fileno()}"))
    libc = ctypes.CDLL(None)
    inotify = libc.inotify_init1(0)
    libc.inotify_add_watch(inotify, b"/tmp", 2)
    # found in mountinfo, which is the input too
    seed("fdinfo", "inotify", proc(f"fdinfo/{inotify}") + "27 1 254:0 / /a\\040b rw - ext4 x rw\n" +
         proc("mountinfo", 4))
    timer = libc.timerfd_create(1, 0)
    libc.timerfd_settime(timer, 0, struct.pack("<qqqq", 1, 0, 100, 0), None)
    seed("fdinfo", "timerfd", proc(f"fdinfo/{timer}"))
    pidfd = os.pidfd_open(os.getpid())
    seed("fdinfo", "pidfd", proc(f"fdinfo/{pidfd}"))
    mask = ctypes.create_string_buffer(struct.pack("<Q", 0x4002), 128)
    signalfd = libc.signalfd(-1, mask, 0)
    seed("fdinfo", "signalfd", proc(f"fdinfo/{signalfd}"))


def own_vdso():
    line = next(x for x in proc("maps").splitlines() if x.endswith("[vdso]"))
    start, end = (int(x, 16) for x in line.split()[0].split("-"))
    with open("/proc/self/mem", "rb") as f:
        f.seek(start)
        return f.read(end - start)


def image_parts():
    """This process's vDSO, and the beginning of a small program."""
    seed("vdso", "own", own_vdso())
    with open("/bin/true", "rb") as f:
        seed("elf", "true", f.read(1024))


def connections():
    preamble = struct.pack("<8sHBBI16s32s", b"corpage\0", 1, 2, 0, 0, b"s" * 16, b"x" * 32)
    seed("preamble", "demand", b"\x07" + preamble)
    seed("preamble", "control", b"\x7f" + preamble[:10] + b"\x01" + preamble[11:] + b"more")
    seed("preamble", "refused", b"\x03" + struct.pack("<4sHh", b"corp", 1, -1))
    seed("preamble", "accepted", b"\x03" + struct.pack("<4sHh", b"corp", 1, 0))
    for i, text in enumerate(("127.0.0.1:7411", "[fe80::1%eth0]:1", "*:0", "host.example:65535", ":9")):
        seed("address", str(i), text)
    ids = "0123456789abcdef" * 2 + ":" + "fedcba9876543210" * 4
    seed("ticket", "ipv4", f"cor1:tcp:127.0.0.1:7411:{ids}:4096")
    seed("ticket", "ipv6", f"cor1:tcp:[::1]:1:{ids}:{2 ** 56}")


def request(op, flags, obj, npages, offset):
    return struct.pack("<BBHIQ", op, flags, obj, npages, offset)


def reply(status, flags, obj, npages, offset, error=0, payload=b""):
    return struct.pack("<BBHIQIIQ", status, flags, obj, npages, offset, error, 0, 0) + payload


def keys():
    def psk(identity, text):
        return bytes([len(identity)]) + identity + text

    key = "00112233445566778899aabbccddeeff"
    seed("psk", "plain", psk(b"alpha", f"alpha:{key}\nbeta:{key}{key}\n".encode()))
    seed("psk", "hex", psk(b"be ta", f"#6265207461:{key}\r\n".encode()))
    seed("psk", "none", psk(b"gamma", f"alpha:{key}\n\n".encode()))
    seed("psk", "short", psk(b"alpha", b"alpha:0011\n"))
    seed("psk", "fingerprint", psk(b"", ":".join(["ab"] * 32).encode()))


def lanes():
    READ, PRESENCE = 1, 2
    requests = (request(READ, 0, 0, 1, 0x7F0000000000), request(READ, 2, 0, 70, 0x1000),
                request(PRESENCE, 0, 0, 32768, 0), request(PRESENCE, 2, 1, 1 << 31, 1 << 40),
                request(READ, 0, 7, 1024, 0))
    for target, how in (("page_request", b""), ("page_lane", b"\x0d")):
        for i, q in enumerate(requests):
            seed(target, str(i), how + q)
        seed(target, "all", how + b"".join(requests))
    DATA, ZERO, GONE, ERROR = 1, 2, 3, 4
    ask = struct.pack("<BHi", 1, 2, 0x10)
    seed("fetch", "data", ask + reply(DATA, 1, 1, 2, 0x10000, payload=b"d" * 2 * PAGE))
    seed("fetch", "zero", ask + reply(ZERO, 0, 1, 1, 0x10000) + reply(ZERO, 1, 1, 1, 0x11000))
    seed("fetch", "gone", ask + reply(ZERO, 0, 1, 1, 0x10000) + reply(GONE, 1, 1, 1, 0x11000))
    seed("fetch", "error", ask + reply(ERROR, 1, 1, 2, 0x10000, error=5))
    top = (1 << 64) - 2 * PAGE
    seed("fetch", "top", struct.pack("<BHi", 1, 1, -2) + reply(ZERO, 1, 1, 1, top))
    many = struct.pack("<BHi", 0, 520, 0)
    for at in range(0, 520, 64):
        n = min(64, 520 - at)
        many += reply(ZERO, 1, 0, n, at * PAGE)
    seed("fetch", "many", many)


def pager_replies():
    """Answers to three faults and to the prefetcher; see fuzz_page_reply.c."""
    DATA, ZERO, GONE, ERROR, RUNS = 1, 2, 3, 4, 5

    def record(how, status, npages=1, flags=1, error=0, payload=b""):
        return struct.pack("<BBBHI", how, status, flags, npages, error) + payload

    def start(fates, nfaults):
        return struct.pack("<QB", fates, nfaults)

    runs = struct.pack("<QIIQII", 0, 3, 0, 0x5000, 60, 0)
    seed("page_reply", "faults", start(0, 3) + record(0, DATA) + record(0, ZERO) + record(0, GONE))
    seed("page_reply", "bulk", start(0x1021, 1) + record(1, RUNS, 2, 1, 0, runs) +
         record(1, DATA, 64) + record(0, DATA) + record(1, ZERO, 64) + record(9, GONE, 64))
    seed("page_reply", "error", start(0x30, 2) + record(0, DATA) + record(0, ERROR, error=5))
    seed("page_reply", "raw", start(0, 1) + b"\x04" + reply(DATA, 1, 0, 1, 0x700000000000))


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """One field of a protobuf message: a number or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def control_frames():
    # fuzz_control.c makes of the 1 the version, and adds the checks
    def frame(kind, body=b""):
        return struct.pack("<IHH", len(body), kind, 1) + body

    hello = (field(1, b"here") + field(2, b"6.18") + field(3, b"s" * 16) + field(4, b"x" * 32) +
             field(5, 1234) + field(6, b"sh") + field(7, field(1, b"task") + field(2, 1)))
    progress = b"".join(field(i, i * 1000) for i in range(1, 10))
    bodies = {1: hello, 3: field(1, b"task") + field(2, b"files") + field(3, 1), 4: field(1, 1),
              5: field(1, 10 ** 18) + field(2, 10 ** 18), 7: field(1, 800), 8: field(1, 7),
              9: field(1, 4321), 10: progress, 11: field(1, progress), 12: b"",
              14: field(1, 7) + field(2, b"paging") + field(3, 4321),
              13: field(1, (1 << 64) - 2) + field(2, b"no such file")}
    for kind, body in bodies.items():
        seed("control", str(kind), frame(kind, body))
    seed("control", "three", frame(8, bodies[8]) + frame(12) + frame(13, bodies[13]))


def udp():
    def name(text, port):
        if ":" in text:
            return struct.pack("<H", 10) + struct.pack(">HI", port, 0) + \
                socket.inet_pton(socket.AF_INET6, text) + bytes(4)
        return struct.pack("<H", 2) + struct.pack(">H", port) + socket.inet_aton(text) + bytes(8)

    def payload(ours, theirs, refused=0):
        return b"\1" + struct.pack("BBBB28s28s", refused, 0, len(ours), len(theirs), ours, theirs)

    body = struct.pack(">HHHH", 7000, 53, 13, 0) + b"hello"
    v4 = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0x4000, 64, 17, 0) + \
        socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.7")
    options = struct.pack(">BBHHHBBH", 0x46, 0, 24 + len(body), 1, 0, 64, 17, 0) + \
        socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.7") + b"\1\1\1\0"
    v6 = struct.pack(">IHBB", 6 << 28, len(body), 17, 64) + \
        socket.inet_pton(socket.AF_INET6, "2001:db8::1") + \
        socket.inet_pton(socket.AF_INET6, "2001:db8:1::2")
    seed("udp", "v4", b"\0" + v4 + body)
    seed("udp", "options", b"\0" + options + body)
    seed("udp", "v6", b"\0" + v6 + body)
    seed("udp", "theirs", payload(b"", name("198.51.100.7", 53)))
    seed("udp", "both", payload(name("2001:db8::1", 7000), name("2001:db8:1::2", 53)))
    seed("udp", "refused", payload(b"", name("198.51.100.7", 53), 1))
    seed("udp", "igmp", b"\2Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
         b"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n")
    seed("udp", "igmp6", b"\0024    eth0            ff0200000000000000000000000000fb"
         b"     1 00000004 0\n")


def pump_frames():
    def frame(kind, arg, at, payload=b""):
        return b"\0" + struct.pack("<BBHIQ", kind, arg, 0, len(payload), at) + payload

    ack, data, event = 3, 4, 5
    limit = struct.pack("<Q", 1 << 18)
    say, write, read, attach = b"\1", b"\4", b"\3", b"\5"
    through = frame(ack, 0, 0, limit) + say + frame(data, 0, 0, b"hello") + write + b"\5"
    seed("pump", "bytes", b"\1\0" + say + through + read + b"\20" + say + say)
    seed("pump", "end", b"\1\0" + say + through + frame(event, 2, 5) + write + b"\5" + say)
    seed("pump", "gone", b"\1\0" + say + frame(ack, 1, 0, limit) + say + say)
    seed("pump", "again", b"\1\0" + say + through + attach + say + frame(ack, 0, 0, limit) +
         frame(data, 0, 0, b"hello more"))
    item = field(2, b"bytes of the task")
    state = field(1, 7) + field(2, item) + field(3, 9) + field(4, item)
    seed("pump", "state", b"\1" + bytes([len(state)]) + state + say +
         frame(ack, 0, 9, limit) + say + write + b"\3")


def images():
    """Every kind of mapping, and mappings that leave no room."""
    def run(start, npages):
        return field(9, field(1, start) + field(2, npages))

    def vma(start, end, kind, rest=b""):
        return field(1, field(1, start) + field(2, end) + field(3, 3) + field(4, kind) + rest)

    def image(memory):
        return field(1, field(1, 77) + field(4, b"/")) + field(2, memory) + field(3, field(1, 77))

    file = field(2, field(1, b"/lib/x.so") + field(2, 4097))
    objects = field(3, field(1, 1) + field(3, b"m")) + field(3, field(1, 2) + field(2, 2))
    anon, private, shared, shmem, shmem_private, vdso, vvar = range(7)
    kinds = (vma(0x10000, 0x14000, anon, field(5, 1) + field(11, b"[anon:heap]")) +
             vma(0x20000, 0x28000, private, run(0x21000, 2) + field(10, 1)) +
             vma(0x30000, 0x34000, shared, field(6, 0x1000)) +
             vma(0x40000, 0x44000, shmem, field(8, 1)) +
             vma(0x50000, 0x58000, shmem_private, field(8, 2) + run(0x51000, 1) + run(0x54000, 2)) +
             vma(0x60000, 0x64000, vvar) + vma(0x64000, 0x66000, vdso))
    seed("image", "kinds", image(kinds + file + objects + field(17, own_vdso())))
    before = image(vma(0x10000, 0x14000, anon) + vma(0x20000, 0x28000, private, run(0x21000, 2)) +
                   vma(0x60000, 0x64000, vvar) + file)
    page = field(8, field(1, 0x21000) + field(2, b"x" * 64))
    after = image(vma(0x10000, 0x15000, anon) + vma(0x18000, 0x19000, anon) +
                  vma(0x20000, 0x28000, private, run(0x21000, 2)) + vma(0x60000, 0x64000, vvar) +
                  file + field(9, 0x4000)) + page
    for name, second in (("same", before), ("grown", after), ("empty", image(b""))):
        seed("update", name, struct.pack("<H", len(before)) + before + second)
    wide = (vma(0x10000, 0x100000000, anon) + vma(0x200000000, 0x7ffff0000000, anon) +
            vma(0x7ffff0001000, 0x7ffff0005000, vvar) + vma(0x7ffff0005000, 0x7ffff0007000, vdso))
    seed("image", "wide", image(wide + field(17, own_vdso())))


def daemon_texts():
    seed("config", "all", """# cord
[cord]
name = here
listen = [::1]:7411
control = /run/cor/cord.sock
state-dir = /run/cor/state
insecure = no
[peers]
there = 10.0.0.2:7411
[paging]
prefetch = yes
spin-us = 50
[timeouts]
connect-s = 5
reconnect-s = 60
""")
    seed("config", "bad", "[cord]\nnonsense\n[peers]\na = b\n")
    requests = ({"command": "migrate", "pid": 1234, "dest": "127.0.0.1:7411", "wait": "resumed",
                 "prefetch": False, "transport": "tcp"},
                {"command": "status", "id": "0123abcd"}, {"command": "cancel", "id": "ff"},
                {"command": "ps"}, {"command": "version"})
    for i, q in enumerate(requests):
        seed("request", str(i), json.dumps(q))
    messages = ({"type": "session", "id": "ab" * 16, "secret": "cd" * 32, "pid": 7, "comm": "sh"},
                {"type": "status", "state": "paging", "pages": 12, "fault_us": {"p50": 30.5}},
                {"type": "result", "ok": False, "exit": 3, "error": "the source is gone"})
    seed("record", "life", "\n".join(json.dumps(m) for m in messages))
    seed("record", "done", json.dumps({"type": "result", "ok": True, "exit": 0}))


def captured(pid, name):
    """The image and the table of descriptors of a running process."""
    for target in ("image", "files"):
        os.makedirs(f"{top}/{target}", exist_ok=True)
    subprocess.run([f"{build}/tests/fuzz/capture_seeds", str(pid), top], check=True)
    for target, what in (("image", "skeleton"), ("image", "image"), ("files", "files")):
        os.rename(f"{top}/{target}/seed-{what}", f"{top}/{target}/seed-{name}-{what}")


def many_descriptors():
    """One of each kind, in the process that is captured."""
    keep = [os.eventfd(3), *os.pipe(), *socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)]
    os.write(keep[2], b"in the pipe")
    keep[3].send(b"a datagram")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0cor-fuzz-seeds")
    listener.listen()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    epoll = select.epoll()
    epoll.register(keep[0], select.EPOLLIN)
    libc = ctypes.CDLL(None)
    timer = libc.timerfd_create(1, 0)
    libc.timerfd_settime(timer, 0, struct.pack("<qqqq", 1, 0, 100, 0), None)
    libc.inotify_add_watch(libc.inotify_init1(0), b"/tmp", 2)
    memory = os.memfd_create("seed")
    deleted = os.open("/var/tmp", os.O_TMPFILE | os.O_RDWR)
    os.write(deleted, b"nameless")
    return keep, listener, udp, epoll, timer, memory, deleted


def tasks():
    null = {f: subprocess.DEVNULL for f in ("stdin", "stdout", "stderr")}
    with subprocess.Popen([f"{build}/tests/programs/timers"], **null) as task:
        time.sleep(0.3)         # it has no way to say that its timers run
        captured(task.pid, "timers")
        task.kill()
    ready, child_ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.closerange(0, child_ready)
        os.closerange(child_ready + 1, 4096)
        for _ in range(3):
            os.open("/dev/null", os.O_RDWR)
        kept = many_descriptors()
        os.close(child_ready)
        time.sleep(60)
        os._exit(len(kept))
    os.close(child_ready)
    os.read(ready, 1)
    os.close(ready)
    try:
        captured(child, "python")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def homes():
    """Requests of a file system to its home, and the home's answers (home_wire.h)."""
    ops = dict(lookup=6, getattr=7, setattr=8, readlink=9, symlink=10, mknod=11, mkdir=12,
               unlink=13, rename=15, link=16, open=17, create=18, read=19, write=20, readdir=24,
               getlk=30, setlk=31, locks=36)

    def ask(op, node=1, handle=0, arg=(), body=b""):
        arg = tuple(arg) + (0,) * (4 - len(arg))
        return struct.pack("<IHHQQQQII4Q", 80 + len(body), ops[op], 0, 2, 2, node, handle, 0, 0,
                           *arg) + bytes([len(body)]) + body

    lock = struct.pack("<QQiiII", 0, 10, 1, 0, 0, 0)
    seed("home_request", "files", ask("create", arg=(2, 0o644), body=b"one\0") +
         ask("write", 2, 1, body=b"some text") + ask("read", 2, 1, (0, 100)) +
         ask("setlk", 2, 1, (7, 0), lock) + ask("getlk", 2, 1, (8, 0), lock) +
         ask("locks", 2, 1) + ask("getattr", 2))
    seed("home_request", "names", ask("mkdir", arg=(0o755,), body=b"dir\0") +
         ask("symlink", 2, body=b"link\0../target\0") + ask("readlink", 3) +
         ask("rename", 1, arg=(2, 0), body=b"dir\0sub\0") + ask("open", 1, arg=(0o200000,)) +
         ask("readdir", 1, 1, (0, 4096)) + ask("lookup", body=b"..\0") +
         ask("setattr", 2, body=struct.pack("<IIIIQqqII", 9, 0o700, 0, 0, 5, 0, 0, 0, 0)))

    def answer(id, status=0, arg=(0, 0), body=b""):
        return struct.pack("<IiQQQ", 32 + len(body), status, id, *arg) + body

    seed("home_reply", "answers", answer(2, body=bytes(120)) + answer(0, 1, (5, 0)) +
         answer(0, 3, (1, 0), b"name\0") + answer(4, -2) + answer(99) + answer(3, 0, (7, 0)))
    seed("trees", "mountinfo", "36 35 98:5 /mnt1 /a\\040b rw master:1 - ext3 /dev/root rw")
    mount = lambda point, kind: (b"\x12" + bytes([4 + len(point) + len(kind)]) + b"\x0a" +
                                 bytes([len(point)]) + point + b"\x12" + bytes([len(kind)]) + kind)
    seed("trees", "trees", b"\x0a\x04boot" + mount(b"/", b"ext4") + mount(b"/proc", b"proc") +
         mount(b"/srv", b"nfs") + b"\x22\x08\x0a\x04/usr\x10\x01")


def pages():
    seed("sparse", "empty", bytes(64))
    seed("sparse", "ends", b"\x01" + bytes(62) + b"\x80" + bytes(range(1, 17)))
    seed("sparse", "full", b"\xff" * (64 + 4096))


kernel_texts()
pages()
homes()
image_parts()
descriptors()
connections()
keys()
lanes()
pager_replies()
control_frames()
pump_frames()
udp()
images()
daemon_texts()
tasks()
