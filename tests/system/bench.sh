# short
# What cor-bench moves between cords of its own arrives, and its JSON has what docs and
# plots rely on; not how fast anything is.
. "$(dirname "$0")/../tasks.sh"
need jq redis-server ip
PATH=$COR_BUILD/bench:$PATH
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# expect FILTER: jq, true of the last output
expect()
{
	jq -e "$1" "$out" >/dev/null || fail "$1 does not hold: $(cat "$out")"
}

cor-bench freeze --json --runs 1 --sizes 4M >"$out"
expect '.freeze[0].freeze_us > 0 and .freeze[0].spawn_us > 0 and .findings.freeze_over_spawn > 0'

cor-bench after --json --runs 1 --size 4M --count 1 >"$out"
expect '.after | length == 8 and all(.ratio > 0 and .moved_huge_mib == .stayed_huge_mib)'
expect '.goals.moved_over_stayed.most == 1.02'

cor-bench redis --json --runs 1 --size 4M --count 5 --before 1 >"$out"
expect '.redis[0].before_per_s > 0 and .redis[0].silence_ms > 0 and .findings.back_ms > 0'
expect '.redis[0].reconnects == 0'
