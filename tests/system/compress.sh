# cases
# Over a link of 200 Mbit/s a text comes compressed, and so sooner than without; what cannot
# be compressed does not; and all of it is right. On a machine that is so many times slower
# the link is, too: there a compressor is as slow.
# timeout: 120
if [ "${1:-}" = --cases ]; then
	printf '%s\n' text noise
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
need python3 tc
lab_up
rate=$((200000 / ${COR_TIME_SCALE:-1}))kbit
for host in A B; do
	on $host tc qdisc add dev eth0 root tbf rate "$rate" burst 128kb latency 50ms 2>/dev/null ||
		skip "this kernel has no tbf queue"
done

# share FIELD: of the pages that were moved, in percent
share()
{
	result "100 * .$1 / .pages | floor"
}

wire()
{
	result '100 * .bytes_wire / (.pages * 4096) | floor'
}

if [ "$1" = noise ]; then
	start A pattern 24
else
	start_foreign A python "$(PATH=/usr/bin:$PATH command -v python3)" "$LAB_TOP/tests/programs/lines.py"
fi
go B
rounds 3
packed=$(share pages_packed) bytes=$(wire)
echo "$1: $packed % of the pages came compressed, $bytes % of their bytes over the wire," \
	"$(result '.drain_us / 1000 | floor') ms"
case $1 in
text)
	drain=$(result .drain_us)
	[ "$packed" -ge 25 ] || fail "$packed % of the pages came compressed"
	[ "$bytes" -le 90 ] || fail "$bytes % of the bytes came over the wire"
	go A --without compress
	rounds 3
	echo "without: $(wire) % of the bytes, $(result '.drain_us / 1000 | floor') ms"
	[ "$(share pages_packed)" -eq 0 ] || fail "without compress pages come compressed"
	[ "$(result .drain_us)" -gt "$drain" ] || fail "it was not slower without"
	;;
noise)
	[ "$bytes" -ge 95 ] || fail "the pages are no noise"
	;;
esac
finish
lab_end
