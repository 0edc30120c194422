# cases
# The same descriptors, from host to host again and again in the midst of what goes through
# them: of what is on its way nothing is lost, and nothing comes twice.
. "$(dirname "$0")/../tasks.sh"
cases outside "$@"
lab_up
start A outside "$@"
for ((i = 0; i < 6; i++)); do
	go B
	rounds 3
	go A
	rounds 3
done
finish
lab_end
