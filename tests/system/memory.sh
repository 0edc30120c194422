# cases
# Every kind of mapping, a case each.
. "$(dirname "$0")/../tasks.sh"
cases memory "$@"
[ "$*,${COR_TEST_TRANSPORT:-}" != dev-shm,fabric:shm ] || skip "the hosts have one /dev/shm"
there_and_back memory "$@"
