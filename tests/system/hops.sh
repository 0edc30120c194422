# short
# A pattern over 64 MiB, changed all the while, moved 6 times.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../hops.sh"
hops 64 6
