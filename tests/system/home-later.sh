# Behind the move: python3 imports a module and opens files that exist only on the home,
# makes one, lists a directory; tcc compiles and links there; the result is run.
. "$(dirname "$0")/../tasks.sh"
need python3 tcc
LAB_ROOT=own
lab_up
on A mkdir -p /srv/job/lib
on A sh -c 'cat >/srv/job/lib/late.py' <<'END'
VALUE = 4711
END
on A sh -c 'cat >/srv/job/answer.c' <<'END'
#include <stdio.h>
int main(void) { printf("forty-two\n"); return 0; }
END
on A sh -c 'cat >/srv/job/job.py' <<'END'
import os, subprocess, sys, time
sys.path.insert(0, "/srv/job/lib")
print("begun", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
import late
import json, decimal, sqlite3
with open("/srv/job/note", "w") as f:
    f.write(str(late.VALUE))
os.rename("/srv/job/note", "/srv/job/noted")
print("noted", open("/srv/job/noted").read(), sorted(os.listdir("/srv/job")), flush=True)
subprocess.run(["tcc", "-o", "/srv/job/answer", "/srv/job/answer.c"], check=True)
print(subprocess.run(["/srv/job/answer"], check=True, capture_output=True).stdout, flush=True)
print("done", flush=True)
END
# shellcheck disable=SC2016
pid=$(on A bash -c 'cd /srv/job; setsid python3 job.py "$1" </dev/null >out 2>err & echo $!' job "$LAB_DIR/go")
said() { on A grep -q "$1" /srv/job/out; }
wait_for 20 said begun || fail "python3 did not begin"
move A "$pid" B
touch "$LAB_DIR/go"
wait_for 30 said done || {
	on A cat /srv/job/out /srv/job/err >&2
	fail "python3 does not get done on B"
}
on A cat /srv/job/out
said "noted 4711 \['answer.c', 'err', 'job.py', 'lib', 'noted', 'out'\]" || fail "the listing is another"
said forty-two || fail "what was compiled does not run"
on A test -x /srv/job/answer || fail "it was not compiled at home"
wait_for 5 gone B "$MOVED" || fail "python3 does not end"
lab_end
