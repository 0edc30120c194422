# short
# All kinds of descriptor in one program.
. "$(dirname "$0")/../tasks.sh"
there_and_back files
