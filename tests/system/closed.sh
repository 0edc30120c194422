# What a task closes while it is being moved is closed at once: nobody has a duplicate of a
# descriptor while the task runs.
# cases
. "$(dirname "$0")/../tasks.sh"
cases closed "$@"
to_and_fro 2 closed "$1"
