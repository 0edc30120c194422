# The network is away until both sides have given their connections up: they are made
# anew, and the session goes on where it was.
# timeout: 180
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
LAB_CONFIG='[timeouts]
silence-s = 2'
lab_up
start A pattern 256
leave A B
cut B 8
await_connections A 3
rounds 1
comes_back B A
rounds 3
finish
lab_end
