# The same between hosts whose monotonic clocks differ by an hour.
. "$(dirname "$0")/../tasks.sh"
LAB_CLOCK_SHIFT=3600
there_and_back clock
