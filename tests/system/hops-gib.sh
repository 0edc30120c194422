# timeout: 900
# A pattern over 1 GiB, changed all the while, moved 20 times.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../hops.sh"
hops "${COR_HOPS_MIB:-1024}" "${COR_HOPS:-20}"
