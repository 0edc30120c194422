# Clocks by the vDSO and by system call never go back.
. "$(dirname "$0")/../tasks.sh"
there_and_back clock
