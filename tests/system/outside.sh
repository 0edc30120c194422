# cases
# Descriptors that lead to a process that stays where it is, of every kind: there and
# back, with the process on the first host all the while.
. "$(dirname "$0")/../tasks.sh"
cases outside "$@"
there_and_back outside "$@"
