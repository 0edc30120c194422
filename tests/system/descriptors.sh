# A program whose descriptors are others whenever somebody looks. It is looked at many times:
# what has changed its number meanwhile is seen once in some tens of them.
. "$(dirname "$0")/../tasks.sh"
lab_up
start A descriptors
for ((i = 0; i < 8; i++)); do
	go B
	rounds 3
	go A
	rounds 3
done
finish
lab_end
