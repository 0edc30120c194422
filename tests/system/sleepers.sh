# short
# Threads that wait go along as they were read before the freeze; those that have run since
# do not, whatever they have changed.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A sleepers
asleep=0
for ((i = 0; i < 8; i++)); do
	go B
	asleep=$((asleep + $(result .asleep)))
	rounds 2
	go A
	asleep=$((asleep + $(result .asleep)))
	rounds 1
done
finish
lab_end
echo "$asleep of $((32 * 16)) threads were made ahead"
[ $asleep -gt 0 ] || fail "no thread was made ahead"
