# The same over IPv6.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
visited unsent "$LAB_FLOAT6" 64
