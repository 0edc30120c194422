#!/usr/bin/env bash
# Runs the system tests: one line each with its time, a skip with its reason,
# and a last line "N passed, N failed, N skipped". See docs/testing.md.
#
#	tests/run.sh [--build DIR] [-j N] [--short] [--log DIR] [--repeat N] [--within SECONDS] [NAME...]
#
# NAME is a test's file name without .sh, or NAME/CASE; the default is all of
# them. --short: only those with a line "# short". --within: what would begin later is
# skipped; what finds most comes first. COR_TIME_SCALE is how many times slower than usual this
# machine may be: time-outs are that much longer.
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=${COR_BUILD:-$here/../build}
logs=
jobs=1
short=
repeat=1
names=()

usage()
{
	sed -n '2,11s/^# \{0,1\}//p' "$0"
	exit "$1"
}

# One test: its line goes to standard output, its verdict to a file.
run_one()
{
	local name=$1 file=$here/system/${1%%/*}.sh case='' log status begin seconds limit

	[ "$name" != "${name#*/}" ] && case=${name#*/}
	log=$logs/${name//\//-}.log
	limit=$(sed -n 's/^# timeout: \([0-9]*\)$/\1/p' "$file")
	limit=$((${limit:-120} * ${COR_TIME_SCALE:-1}))
	begin=$(date +%s%N)
	if [ "${COR_TESTS_UNTIL:-0}" -gt 0 ] && [ $((begin / 1000000000)) -ge "$COR_TESTS_UNTIL" ]; then
		echo "skip     0.0 s  $name: no time is left"
		echo skipped >"$log.verdict"
		return
	fi
	COR_BUILD=$build timeout -k 10 "$limit" bash "$file" ${case:+"$case"} \
		</dev/null >"$log" 2>&1
	status=$?
	seconds=$((($(date +%s%N) - begin) / 100000000))
	seconds=$((seconds / 10)).$((seconds % 10))
	case $status in
	0)
		printf 'ok    %6s s  %s\n' "$seconds" "$name"
		echo passed >"$log.verdict"
		rm -f "$log"
		;;
	77)
		printf 'skip  %6s s  %s: %s\n' "$seconds" "$name" \
			"$(sed -n 's/^skip: //p' "$log" | tail -n 1)"
		echo skipped >"$log.verdict"
		;;
	*)
		[ $status -eq 124 ] && echo "FAIL: timed out after $limit s" >>"$log"
		printf 'FAIL  %6s s  %s: %s\n' "$seconds" "$name" \
			"$(grep -m 1 '^FAIL' "$log" | sed 's/^FAIL:\{0,1\} *//')"
		sed 's/^/            /' "$log" | tail -n 15
		echo failed >"$log.verdict"
		;;
	esac
}

while [ $# -gt 0 ]; do
	case $1 in
	--build) build=$(cd "$2" && pwd) || exit 2; shift ;;
	--log) logs=$2; shift ;;
	--short) short=1 ;;
	--repeat) repeat=$2; shift ;;
	--within) export COR_TESTS_UNTIL=$(($(date +%s) + $2)); shift ;;
	-j) jobs=$2; shift ;;
	--one) logs=$2; run_one "$3"; exit ;;
	-h|--help) usage 0 ;;
	-*) usage 2 >&2 ;;
	*) names+=("$1") ;;
	esac
	shift
done
build=$(cd "$build" 2>/dev/null && pwd) || { echo "no such build directory" >&2; exit 2; }
logs=${logs:-$build/tests/logs}
mkdir -p "$logs"
logs=$(cd "$logs" && pwd)
rm -f "$logs"/*.log "$logs"/*.verdict
export COR_BUILD=$build

# What is to be run, a line each: the short set, then the first case of each test, then the
# others.
list()
{
	local file name wanted n

	for file in "$here"/system/*.sh; do
		name=${file##*/}
		name=${name%.sh}
		n=1
		! grep -q '^# short$' "$file" || n=0
		[ -z "$short" ] || [ $n -eq 0 ] || continue
		if grep -q '^# cases$' "$file"; then
			bash "$file" --cases | sed "1s|^|$n $name/|; 2,\$s|^|$((n + 1)) $name/|"
		else
			echo "$n $name"
		fi
	done | sort -s -n -k 1,1 | cut -d ' ' -f 2- | if [ ${#names[@]} -eq 0 ]; then
		cat
	else
		while read -r name; do
			for wanted in "${names[@]}"; do
				case $name in
				"$wanted"|"$wanted"/*) echo "$name"; break ;;
				esac
			done
		done
	fi
}

# Among autogroups (sched(7)) Linux 6.18 may leave all processors to one in which some threads
# compute and others wake each moment: what is tested then stands still for minutes. While the
# tests run there are none.
autogroups=/proc/sys/kernel/sched_autogroup_enabled
if [ "$(cat $autogroups 2>/dev/null)" = 1 ] && { echo 0 >$autogroups; } 2>/dev/null; then
	trap 'echo 1 >$autogroups' EXIT
fi

all=$(list)
[ -n "$all" ] || { echo "no such test: ${names[*]}" >&2; exit 2; }
count() { cat "$logs"/*.verdict 2>/dev/null | grep -c "^$1$"; }

passed=0 failed=0 skipped=0
for ((round = 0; round < repeat; round++)); do
	rm -f "$logs"/*.verdict
	printf '%s\n' "$all" | xargs -P "$jobs" -I{} bash "$0" --build "$build" --one "$logs" {}
	passed=$((passed + $(count passed)))
	failed=$((failed + $(count failed)))
	skipped=$((skipped + $(count skipped)))
	[ $failed -eq 0 ] || break
done
rm -f "$logs"/*.verdict
[ $failed -eq 0 ] || echo "logs: $logs"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
