# short
# Handlers, masks, alternate stack, pending signals with their siginfo.
. "$(dirname "$0")/../tasks.sh"
there_and_back signals
