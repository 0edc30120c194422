# A plain python http.server in the middle of a slow download, there and back: what
# arrives is what was sent.
. "$(dirname "$0")/../tasks.sh"
need python3
lab_up A B C
lab_float A
head -c 16777216 /dev/urandom >"$LAB_DIR/A/big"
want=$(sha256sum <"$LAB_DIR/A/big")
spawn A http python3 -m http.server --bind "$LAB_FLOAT" --directory "$LAB_DIR/A" 8000
pid=$SPAWNED
http_answers()
{
	on A ss -Hltn 'sport = :8000' | grep -q .
}
wait_for 20 http_answers || fail "http.server does not listen"
got=$LAB_DIR/C/download.out
reached()
{
	grep -q "^at $1\$" "$got"
}
spawn C download python3 "$LAB_TOP/tests/programs/download.py" \
	"http://$LAB_FLOAT:8000/big" 8388608
client=$SPAWNED
wait_for 20 reached 2097152 || fail "the download does not begin"
move A "$pid" B --address "$LAB_FLOAT/24"
pid=$MOVED
echo "frozen for $(result .freeze_us) us in the middle of $(tail -n 1 "$got")"
wait_for 20 reached 8388608 || fail "the download does not go on"
move B "$pid" A --address "$LAB_FLOAT/24"
pid=$MOVED
wait_for 20 gone C "$client" || fail "the download does not end"
cat "$LAB_DIR/C/download.err" >&2
grep -q "^digest ${want%% *} 16777216\$" "$got" || fail "$(tail -n 1 "$got") is not ${want%% *}"
on A kill -KILL "$pid"
wait_for 10 gone A "$pid"
lab_end
