# Robust mutexes whose owners die after the move.
. "$(dirname "$0")/../tasks.sh"
there_and_back robust
