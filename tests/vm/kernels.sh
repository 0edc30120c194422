#!/usr/bin/env bash
# The system tests on each of Debian's kernels, and what came of it: a table for each kernel,
# with the reason of every skip. A few tests share a virtual machine, so that what one of them
# leaves behind, or a machine that ends, costs only these.
#
#	tests/vm/kernels.sh [--kernels "6.1 6.12"] [--build DIR] [--each N] [--jobs N] [NAME...]
#
# NAME is a test's file name without .sh; the default is all of them: some hours. --each: that
# share a machine (5), --jobs: at once in it (2). Logs of failed tests are in
# DIR/tests/kernels-KERNEL. The exit status is 1 where one has failed, and 77 where there are no
# virtual machines.
set -u
here=$(cd "$(dirname "$0")" && pwd)
kernels='6.1 6.12' build=${COR_BUILD:-$here/../../build} each=5 jobs=2 names=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernels) kernels=${2?}; shift ;;
	--build) build=${2?}; shift ;;
	--each) each=${2?}; shift ;;
	--jobs) jobs=${2?}; shift ;;
	-h|--help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
	-*) echo "no such option: $1" >&2; exit 2 ;;
	*) names+=("$1") ;;
	esac
	shift
done
if [ ${#names[@]} -eq 0 ]; then
	for file in "$here"/../system/*.sh; do
		names+=("$(basename "$file" .sh)")
	done
fi

# suite KERNEL NAME...: its lines, kept in $log too. A machine that ended is a failure of
# those that it was to run.
suite()
{
	local kernel=$1 status

	shift
	"$here/suite.sh" --kernel "$kernel" --build "$build" -j "$jobs" "$@" 2>&1 | tee -a "$log"
	status=${PIPESTATUS[0]}
	# the next machine begins with none
	cp "$build/tests/vm-$kernel"/*.log "$build/tests/kernels-$kernel/" 2>/dev/null
	case $status in
	0|1|77) return "$status" ;;
	esac
	echo "FAIL     0.0 s  $* (the machine ended with $status)" | tee -a "$log"
	return 1
}

worst=0
for kernel in $kernels; do
	mkdir -p "$build/tests/kernels-$kernel"
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	for ((i = 0; i < ${#names[@]}; i += each)); do
		suite "$kernel" "${names[@]:i:each}"
		status=$?
		if [ $status -eq 77 ] && grep -q '^skip: ' "$log"; then
			exit 77
		fi
		[ $status -eq 0 ] || [ $status -eq 77 ] || worst=1
	done
	echo "Linux $kernel: $(grep -c '^ok ' "$log") passed, $(grep -c '^FAIL ' "$log") failed," \
		"$(grep -c '^skip ' "$log") skipped"
	grep -E '^(FAIL|skip) ' "$log" | sed 's/^/	/'
	rm -f "$log"
done
exit $worst
