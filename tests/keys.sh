# Keys for system tests, by certtool(1) and psktool(1), as an administrator would make
# them. Sourced after tasks.sh, between lab_begin and the cords.
#
# KEYS is the directory; hosts see it under the same path.

# Makes the lab's hosts, but no daemon yet: keys come first.
keys_begin()
{
	over_tcp 'with keys nothing goes in the clear'
	LAB_KEYS=1
	LAB_NO_CORD=1 lab_up "$@"
	KEYS=$LAB_DIR/keys
	mkdir "$KEYS"
}

keys_cords()
{
	local name

	for name in "${LAB_HOSTS[@]}"; do
		lab_cord "$name"
	done
	lab_mark
}

certtool_quietly()
{
	certtool "$@" 2>"$KEYS/certtool.log" || {
		cat "$KEYS/certtool.log" >&2
		fail "certtool $1"
	}
}

# keys_authority NAME: NAME.pem and NAME.key
keys_authority()
{
	printf 'cn = "%s"\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 1\n' "$1" \
		>"$KEYS/$1.tmpl"
	certtool_quietly --generate-privkey --key-type ecdsa --outfile "$KEYS/$1.key"
	certtool_quietly --generate-self-signed --load-privkey "$KEYS/$1.key" \
		--template "$KEYS/$1.tmpl" --outfile "$KEYS/$1.pem"
}

# keys_certificate NAME DNS [AUTHORITY]: NAME.pem and NAME.key, self-signed without one
keys_certificate()
{
	local how=(--generate-self-signed)

	[ -z "${3:-}" ] || how=(--generate-certificate --load-ca-certificate "$KEYS/$3.pem"
		--load-ca-privkey "$KEYS/$3.key")
	printf 'cn = "%s"\ndns_name = "%s"\nsigning_key\ntls_www_client\ntls_www_server\nexpiration_days = 1\n' \
		"$1" "$2" >"$KEYS/$1.tmpl"
	certtool_quietly --generate-privkey --key-type ecdsa --outfile "$KEYS/$1.key"
	certtool_quietly "${how[@]}" --load-privkey "$KEYS/$1.key" \
		--template "$KEYS/$1.tmpl" --outfile "$KEYS/$1.pem"
}

# keys_fingerprint NAME: as certtool prints it
keys_fingerprint()
{
	certtool --fingerprint --hash sha256 --infile "$KEYS/$1.pem"
}

# keys_psk FILE IDENTITY: adds a key
keys_psk()
{
	psktool --username "$2" --keysize 32 --passwd "$KEYS/$1" >/dev/null 2>&1 ||
		fail "psktool"
	chmod 600 "$KEYS/$1"
}

# What the task TASK on host A writes, a user may write: daemon, whose task it will be.
keys_user_files()
{
	local file

	chmod 755 "$LAB_DIR/A"
	mkdir "$LAB_DIR/A/own"
	for file in "$TASK_OUT.out" "$TASK_OUT.err"; do
		: >"$file"
		chown daemon "$file"
	done
	chown daemon "$LAB_DIR/A/own"
	ln -s own/beat "$TASK_OUT.beat"
}

# Two peers, each with a certificate of one authority; ROOT's tasks may move.
keys_x509_config()
{
	cat <<-END
	[keys]
	certificate = $KEYS/@HOST@.pem
	key = $KEYS/@HOST@.key
	ca = $KEYS/authority.pem
	[peer A]
	address = 10.123.0.1:$LAB_PORT
	users = *
	[peer B]
	address = 10.123.0.2:$LAB_PORT
	users = *
	END
}
