# cases
# The same descriptors, from host to host again and again in the midst of what goes through
# them: of what is on its way nothing is lost, and nothing comes twice.
. "$(dirname "$0")/../tasks.sh"
cases outside "$@"
to_and_fro 6 outside "$@"
