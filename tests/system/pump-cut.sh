# The network is away in mid-stream, and connections are reset: the pipes wait meanwhile
# and nothing is lost or doubled.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../cut.sh"
. "$(dirname "$0")/../pump.sh"
lab_up
pipeline A
flow B
rounds 10
cut B 1
rounds 10
for i in 1 2 3; do
	reset_connections B
	[ "$RESET" -ge 1 ] || fail "there was no connection to reset"
	rounds 10
done
cut A 6
rounds 10
pipeline_end
lab_end
