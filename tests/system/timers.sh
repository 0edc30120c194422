# Interval timers, POSIX timers, alarm.
. "$(dirname "$0")/../tasks.sh"
there_and_back timers
