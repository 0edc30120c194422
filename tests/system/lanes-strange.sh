# cases
# Who knows a session's identity but not its secret gets no page of it: by a lane or a
# control channel, in the clear or encrypted. The session goes on, and the attempts are in
# the log.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' keys clear
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
. "$(dirname "$0")/../keys.sh"

# try KIND HOW WORDS: as a stranger on A
try()
{
	on A timeout 20 stranger "${LAB_ADDR[B]}:$LAB_PORT" "$id" "$1" "$2" >"$LAB_DIR/said" 2>&1 &&
		fail "a stranger came in as $1, $2"
	grep -qE "$3" "$LAB_DIR/said" || fail "the stranger ($1, $2) is told: $(cat "$LAB_DIR/said")"
}

if [ "$1" = clear ]; then
	lab_up
	start A pattern 32
	leave A B
	id=$(result .id)
	for kind in demand bulk control; do
		try $kind clear 'Operation not permitted'
		try $kind tls 'the peer has no keys'
	done
	grep -q 'a lane from .* is refused: wrong secret' "$LAB_DIR/B/cord.err" ||
		fail "cord on B does not tell of a wrong secret"
	session_is B destination paging || fail "the session did not go on"
	rounds 3
	comes_back B A
	rounds 3
	finish
	lab_end
	exit 0
fi
keys_begin
keys_authority authority
keys_certificate A A authority
keys_certificate B B authority
LAB_CONFIG="$(keys_x509_config)
[timeouts]
preamble-s = 2"
keys_cords
start A pattern 32
leave A B
id=$(result .id)

for kind in demand bulk control; do
	try $kind clear 'the peer demands keys'
	try $kind tls 'does not take our key'
	try $kind silent 'hung up on'
done
[ "$(grep -c 'a connection is refused: 10.123.0.1:' "$LAB_DIR/B/cord.err")" -ge 6 ] || {
	cat "$LAB_DIR/B/cord.err" >&2
	fail "cord on B does not tell of the attempts"
}
grep -q "it did not prove the session's secret in time" "$LAB_DIR/B/cord.err" ||
	fail "cord on B does not tell of the silent ones"
session_is B destination paging || fail "the session did not go on"
rounds 3
comes_back B A
rounds 3
finish
lab_end
