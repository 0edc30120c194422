# The network between the hosts is away for a second, then for eight, while the task's
# pages are on their way: faults wait meanwhile, no page is wrong, nothing is lost.
# timeout: 180
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
lab_up
start A pattern 256
leave A B
cut A 1
rounds 1
cut B 8
rounds 1
comes_back B A
rounds 3
finish
lab_end
