# short
# All kinds of mapping in one program.
. "$(dirname "$0")/../tasks.sh"
there_and_back memory
