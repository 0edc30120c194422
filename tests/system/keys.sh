# cases
# Hosts with keys: a task moves encrypted, there and back, by certificates, by
# fingerprints, by pre-shared keys; also when a connection is lost meanwhile.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' certificate fingerprint psk lost-lanes in-doubt home user pump
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
. "$(dirname "$0")/../keys.sh"
. "$(dirname "$0")/../pump.sh"

# A and B with certificates of one authority.
x509()
{
	keys_begin
	keys_authority authority
	keys_certificate A A authority
	keys_certificate B B authority
	LAB_CONFIG=$(keys_x509_config | sed "${1:-}")
	keys_cords
}

case $1 in
certificate)
	x509
	;;
fingerprint)
	keys_begin
	keys_certificate A nobody-cares
	keys_certificate B nobody-cares
	LAB_CONFIG="[keys]
certificate = $KEYS/@HOST@.pem
key = $KEYS/@HOST@.key
[peer A]
fingerprint = $(keys_fingerprint A)
users = *
address = 10.123.0.1:$LAB_PORT
[peer B]
fingerprint = $(keys_fingerprint B)
users = *
address = 10.123.0.2:$LAB_PORT"
	keys_cords
	;;
psk)
	keys_begin
	keys_psk shared A
	keys_psk shared B
	LAB_CONFIG="[keys]
psk = $KEYS/shared
[peer A]
users = *
address = 10.123.0.1:$LAB_PORT
[peer B]
users = *
address = 10.123.0.2:$LAB_PORT"
	keys_cords
	;;
lost-lanes)
	x509
	start A pattern 64
	leave A B
	await_connections A 3
	reset_connections A
	[ "$RESET" -ge 3 ] || fail "$RESET connections were reset, not 3"
	rounds 3
	comes_back B A
	rounds 3
	finish
	lab_end
	exit 0
	;;
user)
	# a peer that may send one user's tasks only: what is his moves
	x509 's/^users = .*/users = daemon/'
	# nobody can want root's capabilities here: cord has none that it does not need itself
	caps=$(on A sed -n 's/^CapPrm:.//p' "/proc/${LAB_CORD[A]}/status")
	[ $((16#$caps >> 16 & 1)) = 0 ] || fail "cord has CAP_SYS_MODULE"
	[ $((16#$caps >> 19 & 1)) = 1 ] || fail "cord has no CAP_SYS_PTRACE"
	TASK=files
	TASK_HOST=A
	TASK_OUT=$LAB_DIR/A/files
	keys_user_files
	spawn A files setpriv --reuid daemon --regid daemon --clear-groups \
		sh -c "cd '$LAB_DIR/A/own' && exec files -p beat regular append dup directory pipe socketpair eventfd memfd"
	TASK_PID=$SPAWNED
	wait_for 30 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "files did not begin"; }
	;;&
home)
	# files that stay at A are reached from B, encrypted as all else
	LAB_ROOT=own
	x509
	on A mkdir -p /srv/job
	start_in A /srv/job files regular
	go B
	rounds 3
	go A
	rounds 3
	finish_in A
	lab_end
	exit 0
	;;
pump)
	# pipes that lead to other processes go on over TLS, through lost connections; who has not
	# the secret has no part in that, whether it speaks in the clear or only says TLS
	x509
	pipeline A
	flow B
	result .encrypted | grep -qx true || fail "not by TLS"
	rounds 10
	reset_connections B
	[ "$RESET" -ge 1 ] || fail "there was no connection to reset"
	rounds 10
	identity=$(on A ls /run/cor/pumps | grep -xE '[0-9a-f]{32}')
	for how in clear tls; do
		on B python3 "$LAB_TOP/tests/pump_stranger.py" "${LAB_ADDR[A]}" "$LAB_PORT" \
			"$identity" $how || fail "a stranger is not refused ($how)"
	done
	rounds 10
	flow A
	rounds 10
	pipeline_end
	lab_end
	exit 0
	;;
in-doubt)
	# the connection is lost behind COMMIT: what became of it is asked and told inside TLS
	grep -qa 'commit-sent' "$COR_BUILD/cord" ||
		skip "this build has no fault points (--enable-fault-points)"
	export COR_FAULT=commit:cut
	x509
	start A pattern 16
	status=0
	on A cor migrate "$TASK_PID" B --json </dev/null >"$LAB_DIR/migrate.json" \
		2>"$LAB_DIR/migrate.err" || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	grep -q 'the commit did not arrive' "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" ||
		fail "no word of why"
	session_is A source aborted || fail "the session is not aborted"
	rounds 3
	finish
	lab_end
	exit 0
	;;
esac
[ -n "$TASK_PID" ] || start A threads
go B
result .encrypted | grep -qx true || fail "not by TLS"
rounds 3
go A
rounds 3
finish
lab_end
