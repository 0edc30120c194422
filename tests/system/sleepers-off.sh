# With sleepers = no all threads are read in the freeze.
. "$(dirname "$0")/../tasks.sh"
LAB_CONFIG='[task]
sleepers = no'
lab_up
start A sleepers
go B
[ "$(result .asleep)" = 0 ] || fail "threads were read ahead though that is switched off"
rounds 3
finish
lab_end
