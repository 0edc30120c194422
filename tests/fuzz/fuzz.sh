#!/usr/bin/env bash
# Builds the fuzz targets with clang, libFuzzer and the address and undefined
# behaviour sanitizers, and runs them one after the other on their corpora.
#
#	fuzz.sh SOURCE BUILD [NAME...]      NAME: a target without its "fuzz_"
#
# FUZZ_SECONDS (10) for each, or FUZZ_RUNS executions each where that is set.
# What they learn is kept in BUILD/corpus, a finding in BUILD/findings. The last
# line is "N passed, N failed, N skipped"; exit status 1 if anything was found.
set -u
source=$1 build=$2
shift 2
seconds=${FUZZ_SECONDS:-10} runs=${FUZZ_RUNS:-}
passed=0 failed=0 skipped=0

sum() { echo "$passed passed, $failed failed, $skipped skipped"; }

targets()
{
	if [ $# -gt 0 ]; then
		printf '%s\n' "$@"
	else
		find "$source/tests/fuzz" -name 'fuzz_*.c' -printf '%f\n' | sed 's/^fuzz_\(.*\)\.c$/\1/' | sort
	fi
}

skip_all()
{
	local name

	for name in $names; do
		echo "SKIP  $name: $1"
		skipped=$((skipped + 1))
	done
	sum
	exit 0
}

has_runtime()
{
	echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n); int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return 0; }' |
		clang -x c - -fsanitize=fuzzer,address,undefined -o "$build/probe" 2>/dev/null
}

# The libraries are instrumented; the engine is linked to the targets only.
configure()
{
	[ -f "$build/Makefile" ] && return
	(cd "$build" && CC=clang CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address' \
		"$source/configure" -q --enable-sanitizers)
}

compile()
{
	local programs=()
	local name

	for name in $names; do
		programs+=("tests/fuzz/fuzz_$name")
	done
	make -C "$build" -s fuzz-generated &&
		make -C "$build" -s -j2 FUZZ_MAIN= FUZZ_ENGINE=-fsanitize=fuzzer "${programs[@]}"
}

# What a log of libFuzzer says of its executions.
executions() { sed -n 's/^stat::number_of_executed_units: *//p' "$1"; }

run()
{
	local name=$1 log=$build/$1.log options corpora count

	options=(-print_final_stats=1 -timeout=20 -rss_limit_mb=2048 -max_len=16384 -verbosity=1
		"-artifact_prefix=$build/findings/$name-")
	[ -f "$source/tests/fuzz/dictionaries/$name" ] &&
		options+=("-dict=$source/tests/fuzz/dictionaries/$name")
	if [ -n "$runs" ]; then
		options+=("-runs=$runs")
	else
		options+=("-max_total_time=$seconds")
	fi
	mkdir -p "$build/corpus/$name" "$build/findings"
	corpora=("$build/corpus/$name")
	[ -d "$source/tests/fuzz/corpus/$name" ] && corpora+=("$source/tests/fuzz/corpus/$name")
	if "$build/tests/fuzz/fuzz_$name" "${options[@]}" "${corpora[@]}" >"$log" 2>&1 </dev/null; then
		count=$(executions "$log")
		printf 'ok    %-16s %9d executions\n' "$name" "${count:-0}"
		passed=$((passed + 1))
		return
	fi
	count=$(executions "$log")
	printf 'FAIL  %-16s %9d executions; %s, %s\n' "$name" "${count:-0}" "$log" \
		"$(sed -n 's/^.*Test unit written to //p' "$log" | tail -n 1)"
	failed=$((failed + 1))
}

names=$(targets "$@")
mkdir -p "$build"
command -v clang >/dev/null || skip_all "clang is not installed"
has_runtime || skip_all "clang has no libFuzzer runtime (libclang-rt-dev)"
(configure && compile) >"$build/build.log" 2>&1 || {
	tail -n 30 "$build/build.log"
	echo "FAIL  the build: $build/build.log"
	exit 1
}
for name in $names; do
	run "$name"
done
sum
[ "$failed" -eq 0 ]
