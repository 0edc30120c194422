# System calls under way, in a task that moves on and on within one of them: no EINTR, and
# time-outs are not longer by that.
. "$(dirname "$0")/../tasks.sh"
to_and_fro 12 syscalls often
