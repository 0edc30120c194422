# cases
# What the task has been told that it can read is there whenever it looks, also in the moment
# in which it goes on somewhere else.
. "$(dirname "$0")/../tasks.sh"
cases ready "$@"
to_and_fro 3 ready "$@"
