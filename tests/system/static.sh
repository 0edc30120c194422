# short
# A static C program.
. "$(dirname "$0")/../tasks.sh"
there_and_back plain
