# A filter between two processes moves while it works: bytes go on in both directions,
# none is lost, doubled or out of place, and the end of file arrives.
# short
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../pump.sh"
lab_up
pipeline A
flow B
rounds 20
flow A
rounds 20
flow B
rounds 20
pipeline_end
lab_end
