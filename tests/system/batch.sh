# cases
# Programs of a build farm, as they are: a compiler, compressors, sort with its temporary files,
# interpreters. Each is moved to and fro until it ends, and what it writes is what it writes when
# it stays.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' awk bc bzip2 compiler openssl perl sort tcl xz xz-threads zstd
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"

# Its command: $1 is a directory with its input.
# shellcheck disable=SC2016
case $1 in
awk)
	need awk
	run='exec awk "{ for (i = 1; i <= length(\$0); i++) n[substr(\$0, i, 2)]++ }
		END { for (k in n) s += n[k] * length(k); print NR, s }" "$1/lines"' ;;
bc)
	need bc
	run='exec bc -l "$1/pi"' ;;
bzip2)
	need bzip2
	run='exec bzip2 -9 -c "$1/lines"' ;;
compiler)
	need gcc
	run="exec $(gcc -print-prog-name=cc1)"' -quiet -O2 "$1/program.c" -o -' ;;
openssl)
	need openssl
	run='exec openssl enc -aes-256-cbc -pbkdf2 -iter 4000000 -S 0011223344556677 -k secret -in "$1/pi"' ;;
perl)
	need perl
	run='exec perl -MDigest::MD5=md5_hex -e "my \$d = 0; my %seen; for my \$i (1..2500000) {
		\$d = md5_hex(\$d, \$i); \$seen{substr(\$d, 0, 4)}++ }
		print \$d, \" \", scalar(keys %seen), \"\\n\""' ;;
sort)
	need sort
	run='exec sort -S 1M --parallel=2 -T "$1" -k 4,4n -k 2,2n "$1/lines"' ;;
tcl)
	need tclsh
	run='exec tclsh "$1/program.tcl"' ;;
xz)
	need xz
	run='exec xz -6 -T1 -c "$1/few"' ;;
xz-threads)
	need xz
	run='exec xz -6 -T3 --block-size=256KiB -c "$1/few"' ;;
zstd)
	need zstd
	run='exec zstd -q -19 -T1 -c "$1/few"' ;;
esac

# The same wherever and whenever it is made.
make_input()
{
	local i

	mkdir "$1"
	printf 'scale=2600\n4*a(1)\nquit\n' >"$1/pi"
	awk 'BEGIN { srand(7); for (i = 0; i < 900000; i++) print i, int(rand() * 1e9), "line", int(rand() * 1e4) }' \
		>"$1/lines"
	head -c 3000000 "$1/lines" >"$1/few"
	for ((i = 0; i < 500; i++)); do
		printf 'unsigned f%d(unsigned *a, unsigned n)\n{\n\tunsigned s = %d;\n\tfor (unsigned i = 0; i < n; i++)\n' $i $i
		printf '\t\tfor (unsigned j = i; j; j /= %d)\n\t\t\ts = s * 31 + (a[j] ^ a[i %% %d]);\n\treturn s;\n}\n' $((i % 7 + 2)) $((i + 1))
	done >"$1/program.c"
	cat >"$1/program.tcl" <<-'EOF'
		set s 1
		for {set i 0} {$i < 3000000} {incr i} {
			set s [expr {($s * 6364136223846793005 + $i) & 0xffffffffffff}]
			if {$i % 1000 == 0} { lappend l $s }
		}
		puts "$s [lindex [lsort -integer $l] 1234]"
	EOF
}

lab_up
in=$LAB_DIR/in
make_input "$in"
sh -c "$run" sh "$in" >"$LAB_DIR/want" 2>"$LAB_DIR/want.err" </dev/null || fail "$(cat "$LAB_DIR/want.err")"
[ -s "$LAB_DIR/want" ] || fail "it writes nothing"

spawn A batch sh -c "$run" sh "$in"
TASK_PID=$SPAWNED
host=A to=B hops=0 status=0
while alive "$host" "$TASK_PID"; do
	migrate "$host" "$TASK_PID" "$to" || status=$?
	if [ $status -ne 0 ]; then
		# it may have ended meanwhile
		wait_for 5 gone "$host" "$TASK_PID" || fail "hop $((hops + 1)): $(cat "$LAB_DIR/migrate.err")"
		break
	fi
	TASK_PID=$MOVED
	hops=$((hops + 1))
	case $host in
	A) host=B to=A ;;
	B) host=A to=B ;;
	esac
	[ $hops -lt 6 ] || break
done
wait_for 120 gone "$host" "$TASK_PID" || fail "it does not end"
cmp "$LAB_DIR/want" "$LAB_DIR/A/batch.out" || fail "behind $hops hops it has written something else: $(cat "$LAB_DIR/A/batch.err")"
[ $hops -ge 1 ] || fail "it ended before it had moved: that tells nothing"
echo "$hops hops, the same $(wc -c <"$LAB_DIR/want") bytes"
lab_end
