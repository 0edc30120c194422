# cases
# Who has no business here is refused, with a word in the log of whoever refuses, and
# nothing of the task has left. It goes on where it was.
# timeout: 60
if [ "${1:-}" = --cases ]; then
	printf '%s\n' no-key stranger stranger-psk unknown-psk wrong-name wrong-server \
		revoked expired-key no-keys-there user group capability \
		file port directory
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../keys.sh"

# refused WORD-IN-LOG-OF HOST PATTERN PATTERN-OF-ERROR: B must be refused A's task.
refused()
{
	local host=$1 logged=$2 told=$3 status=0

	[ -n "$TASK_PID" ] || start A "${TASK_PROGRAM:-threads}"
	on A timeout 20 cor migrate "$TASK_PID" B --json </dev/null >"$LAB_DIR/migrate.json" \
		2>"$LAB_DIR/migrate.err" || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	wait_for 5 grep -qE "$logged" "$LAB_DIR/$host/cord.err" ||
		fail "cord on host $host does not say: $logged"
	grep -qE "$told" "$LAB_DIR/migrate.json" || {
		cat "$LAB_DIR/migrate.json" >&2
		fail "the user is not told: $told"
	}
	# nothing of it is at B: no task, no stub, no worker that waits
	wait_for 5 quiet B || fail "something is left on host B"
	rounds 3
	finish
	lab_end
}

quiet()
{
	[ "$(on "$1" pgrep -c 'cor-stub|cord-dest|cor-super')" = 0 ]
}

# Both hosts have certificates of one authority. What follows changes A's or B's.
both()
{
	keys_begin
	keys_authority authority
	keys_certificate A A authority
	keys_certificate B B authority
	LAB_CONFIG=$(keys_x509_config)
}

# configure HOST SED...: starts HOST's cord with its configuration edited.
configure()
{
	local host=$1

	shift
	LAB_CONFIG=$(printf '%s\n' "$LAB_CONFIG" | sed "$@") lab_cord "$host"
}

case $1 in
no-key)
	both
	lab_cord B
	# A has no keys, and speaks in the clear
	LAB_KEYS='' LAB_CONFIG="[peers]
B = 10.123.0.2:$LAB_PORT" lab_cord A
	lab_mark
	refused B 'is refused: it shows no key, and keys are demanded here' 'the peer demands keys'
	;;
no-keys-there)
	both
	lab_cord A
	LAB_KEYS='' LAB_CONFIG='' lab_cord B
	lab_mark
	refused B 'is refused: it wants to show a key, and there are no keys here' \
		'the peer has no keys, which are demanded here'
	;;
stranger)
	both
	keys_authority other
	keys_certificate A A other
	keys_cords
	refused B 'is refused: the key that it shows .*is a stranger' 'the peer does not take our key'
	;;
revoked)
	both
	printf 'crl_next_update = 1\ncrl_number = 1\n' >"$KEYS/crl.tmpl"
	certtool_quietly --generate-crl --load-ca-privkey "$KEYS/authority.key" \
		--load-ca-certificate "$KEYS/authority.pem" --load-certificate "$KEYS/A.pem" \
		--template "$KEYS/crl.tmpl" --outfile "$KEYS/crl.pem"
	lab_cord A
	configure B "s|^ca = .*|&\ncrl = $KEYS/crl.pem|"
	lab_mark
	refused B 'is refused: the key that it shows .*revoked' 'the peer does not take our key'
	;;
expired-key)
	both
	printf 'cn = "A"\ndns_name = "A"\nsigning_key\nactivation_date = "2001-01-01 00:00:00"\nexpiration_date = "2001-02-01 00:00:00"\n' \
		>"$KEYS/A.tmpl"
	certtool_quietly --generate-certificate --load-ca-certificate "$KEYS/authority.pem" \
		--load-ca-privkey "$KEYS/authority.key" --load-privkey "$KEYS/A.key" \
		--template "$KEYS/A.tmpl" --outfile "$KEYS/A.pem"
	keys_cords
	refused B 'is refused: the key that it shows .*expired' 'the peer does not take our key'
	;;
wrong-name)
	both
	keys_certificate A somebody-else authority
	keys_cords
	refused B 'is refused: its certificate .CN=A. has the name of no peer here' \
		'the peer does not take our key'
	;;
wrong-server)
	both
	keys_certificate B somebody-else authority
	keys_cords
	refused A 'the certificate that B shows .* has another name' 'has another name'
	;;
stranger-psk|unknown-psk)
	keys_begin
	keys_psk A.psk A
	keys_psk B.psk A
	[ "$1" = stranger-psk ] || sed -i 's/^A:/C:/' "$KEYS/B.psk"
	LAB_CONFIG="[keys]
psk = $KEYS/@HOST@.psk
[peer A]
users = *
[peer B]
address = 10.123.0.2:$LAB_PORT"
	keys_cords
	refused B 'is refused: (the peer has not the same kind of key|TLS handshake|the peer does not take our key)' \
		'the peer does not take our key'
	;;
user)
	# the default: nobody who is root
	both
	LAB_CONFIG=$(printf '%s\n' "$LAB_CONFIG" | sed '/^users/d')
	keys_cords
	refused B 'peer A may not send tasks of user 0 .root.' 'peer A may not send tasks of user 0'
	;;
file|port|directory)
	# what the task has from when it was root, the user may not have here by the peer's word
	both
	LAB_CONFIG=$(printf '%s\n' "$LAB_CONFIG" | sed 's/^users = .*/users = daemon/')
	keys_cords
	TASK=threads
	TASK_HOST=A
	TASK_OUT=$LAB_DIR/A/threads
	keys_user_files
	echo secret >"$LAB_DIR/secret"
	chmod 600 "$LAB_DIR/secret"
	mkdir -m 700 "$LAB_DIR/private"
	case $1 in
	file) what="exec 9<$LAB_DIR/secret" how="$LAB_DIR/secret.*Permission denied" ;;
	directory) what="cd $LAB_DIR/private" how="$LAB_DIR/private.*Permission denied" ;;
	port) what=: how='127.0.0.1:80.*Permission denied' ;;
	esac
	runner=(setpriv --reuid daemon --regid daemon --clear-groups threads)
	[ "$1" != port ] || runner=(python3 -c "
import os, socket, sys
s = socket.create_server(('127.0.0.1', 80))
s.set_inheritable(True)
os.setgroups([]); os.setgid(1); os.setuid(1)
os.execvp('threads', ['threads'] + sys.argv[1:])")
	spawn A threads bash -c "$what; exec \"\$@\"" as "${runner[@]}" -p "$LAB_DIR/A/own/beat"
	TASK_PID=$SPAWNED
	wait_for 30 test -s "$TASK_OUT.beat" || fail "threads did not begin"
	refused B "the migration failed: .*$how" "$how"
	;;
group|capability)
	both
	LAB_CONFIG=$(printf '%s\n' "$LAB_CONFIG" | sed 's/^users = .*/users = daemon/')
	keys_cords
	# root's group disk, or a capability, with a user who has neither here
	how=(--reuid daemon --regid daemon --groups disk)
	what='group 6 .disk., which user 1 .daemon. does not have here'
	if [ "$1" = capability ]; then
		how=(--reuid daemon --regid daemon --clear-groups --inh-caps +net_raw --ambient-caps +net_raw)
		what='the capability net_raw'
	fi
	TASK=threads
	TASK_HOST=A
	TASK_OUT=$LAB_DIR/A/threads
	keys_user_files
	spawn A threads setpriv "${how[@]}" threads -p "$LAB_DIR/A/own/beat"
	TASK_PID=$SPAWNED
	wait_for 30 test -s "$TASK_OUT.beat" || fail "threads did not begin"
	refused B "peer A may not send tasks with.* $what" 'peer A may not send tasks with'
	;;
esac
