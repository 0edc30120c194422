# cases
# One UDP socket whose address stays: what the task and its peers say goes through the home,
# with the addresses that it had, what was unread too, and wherever the task goes from there.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
cases udp "$@"
VISIT=udp
visited_from_home "$1" 10.123.0.1
