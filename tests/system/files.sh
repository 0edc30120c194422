# cases
# Every kind of descriptor, a case each.
. "$(dirname "$0")/../tasks.sh"
cases files "$@"
there_and_back files "$@"
