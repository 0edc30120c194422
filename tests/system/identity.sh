# short
# Who the task is: PID, session, directories, limits, scheduling, /proc.
. "$(dirname "$0")/../tasks.sh"
there_and_back identity
