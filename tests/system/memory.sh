# cases
# Every kind of mapping, a case each.
. "$(dirname "$0")/../tasks.sh"
cases memory "$@"
there_and_back memory "$@"
