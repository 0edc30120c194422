# short
# System calls under way: no EINTR, sane times.
. "$(dirname "$0")/../tasks.sh"
there_and_back syscalls
