# cases
# UDP over IPv6 whose address stays, bound to an address and to a port alone.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' echo told client
	exit 0
fi
VISIT=udp
visited_from_home "$1" fd0a:7b::1
