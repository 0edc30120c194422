# The destination has neither the program nor its libraries: it moves and runs, and what
# it opens later of them comes from home.
. "$(dirname "$0")/../tasks.sh"
need /usr/bin/python3
LAB_ROOT=own
lab_up
on B sh -c 'rm -rf /usr/lib/python3* /usr/bin/python3* /usr/lib/x86_64-linux-gnu/libexpat* \
	/usr/lib/x86_64-linux-gnu/libz.so*'
on B test ! -e /usr/bin/python3 || fail "B has python3 still"
on A mkdir -p /srv/job
on A sh -c 'cat >/srv/job/job.py' <<'END'
import os, sys, time
print("begun", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
import decimal, random, hashlib
print("sum", sum(decimal.Decimal(i) for i in range(1000)), os.readlink("/proc/self/exe"), flush=True)
END
# shellcheck disable=SC2016
pid=$(on A bash -c 'cd /srv/job; setsid /usr/bin/python3 job.py "$1" </dev/null >out 2>err & echo $!' job "$LAB_DIR/go")
said() { on A grep -q "$1" /srv/job/out; }
wait_for 20 said begun || fail "python3 did not begin"
exe=$(on A readlink "/proc/$pid/exe")
move A "$pid" B
touch "$LAB_DIR/go"
wait_for 30 said "sum 499500 $exe" || {
	on A cat /srv/job/out /srv/job/err >&2
	fail "python3 does not get done on B"
}
wait_for 5 gone B "$MOVED" || fail "python3 does not end"
lab_end
