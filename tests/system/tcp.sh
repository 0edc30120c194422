# cases
# A task with TCP connections to a third host, moved there and back with its address.
. "$(dirname "$0")/../tasks.sh"
cases tcp "$@"
. "$(dirname "$0")/../visit.sh"
visited "$1"
