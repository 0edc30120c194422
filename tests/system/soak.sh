# Two dozen hops with a fault in every second one: a short run of tests/soak.
exec "$(dirname "$0")/../soak" --hops 16 --faults 50
