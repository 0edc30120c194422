# What a task closes while it is being moved is closed at once: nobody has a duplicate of a
# descriptor while the task runs.
# cases
. "$(dirname "$0")/../tasks.sh"
cases closed "$@"
[ "${COR_TIME_SCALE:-1}" -le 4 ] ||
	skip "whoever reads /proc holds on to descriptors as well, on a machine this slow for too long"
to_and_fro 2 closed "$1"
