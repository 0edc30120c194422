# short
# Threads of pthread_create and of bare clone keep their TIDs and names.
. "$(dirname "$0")/../tasks.sh"
there_and_back threads
