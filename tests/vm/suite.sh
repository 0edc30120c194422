#!/usr/bin/env bash
# The system tests on another kernel: tests/run.sh in a virtual machine (see run.sh).
#
#	tests/vm/suite.sh [--kernel KERNEL] [--rdma siw|rxe] [--build DIR] [--limit N]
#	                  [OPTION...] [NAME...]
#
# KERNEL is 6.12 (the default) or 6.1; with two of them, as in 6.1,6.12, there are two
# virtual machines: the first host of each test is on the one, the others on the other.
# OPTION and NAME are those of tests/run.sh. Emulation is slow: time-outs are
# COR_TIME_SCALE times longer, 20 if it is not set. --limit: seconds for all of it, 7200.
# --rdma siw: each host has a soft-iWARP adapter, for COR_TEST_TRANSPORT=verbs and the like;
# rxe: a soft-RoCE adapter, which is a machine's, so that each of two machines is one host.
# Logs of failed tests are in DIR/tests/vm-KERNEL.
set -u
here=$(cd "$(dirname "$0")" && pwd)
kernel=6.12 build=${COR_BUILD:-$here/../../build} limit=7200 options=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=${2?}; shift ;;
	--rdma) export COR_TEST_RDMA=${2?}; shift ;;
	--build) build=${2?}; shift ;;
	--limit) limit=${2?}; shift ;;
	-h|--help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) options+=("$1") ;;
	esac
	shift
done
build=$(cd "$build" 2>/dev/null && pwd) || { echo "no such build directory" >&2; exit 2; }
export COR_TIME_SCALE=${COR_TIME_SCALE:-20}
command=("$here/../run.sh" --build "$build" --log /vm/share "${options[@]}")
machine=("$here/run.sh" --kernel "$kernel" --memory 4096 --limit "$limit"
	--share "$build/tests/vm-$kernel" --rdma "${COR_TEST_RDMA:-none}")
case $kernel,${COR_TEST_RDMA:-} in
*,*,*|*,rxe)
	# the second one has nothing to say
	set -o pipefail
	"${machine[@]}" --nodes 2 "$here/pair" "${command[@]}" | sed -u 's/^1: //'
	;;
*) exec "${machine[@]}" "${command[@]}" ;;
esac
