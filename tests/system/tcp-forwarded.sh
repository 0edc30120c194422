# cases
# One connection whose address stays: what the task and its peer say goes through the
# home, whatever is unread, unsent or shut down, and wherever the task goes from there.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' echo unread unsent ended ending client edge short corked
	exit 0
fi
visited_from_home "$1" 10.123.0.1
