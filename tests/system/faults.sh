# A case of each kind of what tests/faults tries: every fault at every named point.
exec "$(dirname "$0")/../faults" --short --jobs 2
