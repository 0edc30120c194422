# short
# cor-bench measures a demand fault over another transport than TCP, staged and one-sided,
# each beside the transport's own read of a page and a userfaultfd's round trip of the same
# run; not how fast anything is.
# timeout: 240
. "$(dirname "$0")/../tasks.sh"
export COR_TEST_TRANSPORT=${COR_TEST_TRANSPORT:-fabric:tcp}
need jq
need_transport "$COR_TEST_TRANSPORT"
lab_up

on A "$COR_BUILD/bench/cor-bench" fault --transport "$COR_TEST_TRANSPORT" \
	--address "${LAB_ADDR[A]}" --json --runs 2 --count 100 --size 8M >"$LAB_DIR/fault" ||
	fail "cor-bench fault"
jq -e '.fault | [.[].name[:9]] == ["staged, 0", "staged, 2", "one-sided", "one-sided"]' \
	"$LAB_DIR/fault" >/dev/null || fail "the cases are others: $(cat "$LAB_DIR/fault")"
jq -e '.fault | all(.raw_p50_us > 0 and .uffd_p50_us > 0 and .p50_us > 0)' "$LAB_DIR/fault" \
	>/dev/null || fail "a figure or a floor is missing: $(cat "$LAB_DIR/fault")"
jq -e '.goals | (.one_sided_over_sum // .one_sided_over_raw).most == 1.5' "$LAB_DIR/fault" \
	>/dev/null || fail "the goal is missing: $(cat "$LAB_DIR/fault")"
lab_end
