#!/usr/bin/env bash
# Runs a command in a virtual machine with one of Debian's own kernels: as root, in
# this directory, on this machine's files, whose changes are lost. Its output comes
# here and its exit status is the one of this program. No KVM is needed.
#
#	tests/vm/run.sh [OPTION...] COMMAND [ARG...]
#
#	--kernel 6.12|6.1     the kernel; for two guests two of them may be named: 6.1,6.12
#	--nodes 1|2           two guests on one cable, 10.77.0.1 and .2; both run the command
#	--rdma none|rxe|siw   a soft-RoCE or soft-iWARP device rxe0 or siw0 on that address
#	--cpus N, --memory N  of each guest: 2 (of two guests 1), 2048 MiB
#	--limit N             seconds until it is ended, 300
#	--share DIR           a directory that the guests can write to, as $VM_SHARE
#
# The command finds VM_NODE (1 or 2), VM_ADDR and VM_PEER (addresses), VM_RDMA, VM_KERNEL and
# VM_SHARE in its environment, and what begins with COR_ in this one's. QEMU's monitor is a
# socket, cor-vm.*/monitor.NODE in the directory for temporary files: by "stop" and "cont" a
# guest stands still, its clocks too, while something is measured on this machine. With two
# guests the exit status is the first that is not 0. 77: cannot be had here, the reason
# is the line "skip: ..."; 125: a guest ended without a status.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/vm/kernel.sh
. "$here/kernel.sh"

kernels=6.12 nodes=1 rdma=none cpus='' memory=2048 limit=300 share='' work=''
started=() readers=()

usage()
{
	sed -n '2,22s/^# \{0,1\}//p' "$0"
	exit "$1"
}

skip()
{
	echo "skip: $*"
	exit 77
}

# shellcheck disable=SC2317 # trapped
cleanup()
{
	[ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null
	[ -z "$work" ] || rm -rf --one-file-system "$work"
}

while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernels=${2?}; shift ;;
	--nodes) nodes=${2?}; shift ;;
	--rdma) rdma=${2?}; shift ;;
	--cpus) cpus=${2?}; shift ;;
	--memory) memory=${2?}; shift ;;
	--limit) limit=${2?}; shift ;;
	--share) share=$(mkdir -p "${2?}" && cd "$2" && pwd) || exit 2; shift ;;
	-h|--help) usage 0 ;;
	-*) usage 2 >&2 ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || usage 2 >&2
case $nodes in 1|2) ;; *) usage 2 >&2 ;; esac
case $rdma in none|rxe|siw) ;; *) usage 2 >&2 ;; esac
cpus=${cpus:-$((3 - nodes))}

# What the guest is told: a second archive behind boot.cpio, which the kernel unpacks
# into the same root.
guest_archive()
{
	local node=$1 root=$work/root.$1 address=10.77.0.

	mkdir "$root"
	cp "$here/init" "$here/guest" "$root/"
	chmod 755 "$root/init" "$root/guest"
	shift
	{
		echo "VM_DIR=$(printf %q "$VM_DIR")"
		echo "VM_RDMA=$rdma VM_NODES=$nodes"
		echo "export VM_RDMA"
		echo "export VM_NODE=$node VM_ADDR=$address$node VM_PEER=$address$((3 - node))"
		echo "export VM_KERNEL=$VM_RELEASE"
		export -p | grep '^declare -x COR_'
		echo "VM_PWD=$(printf %q "$PWD")"
		echo "VM_COMMAND=($(printf '%q ' "$@"))"
	} >"$root/settings"
	(cd "$root" && find . | cpio -o -H newc --quiet) | cat "$VM_DIR/boot.cpio" - >"$work/initramfs.$node"
}

# The kernel's options: nothing on a console that nobody reads, the end of QEMU after a
# panic, and none of what only costs time under emulation (mitigations, audit,
# self-tests of ciphers, AppArmor, a watchdog that mistrusts the clock).
append='console=ttyS0 quiet panic=-1 oops=panic mitigations=off audit=0 cryptomgr.notests apparmor=0 tsc=reliable'

# boot NODE: in the place of this (sub)shell.
boot()
{
	# a comma in an option's value is written twice
	local node=$1 other=$((3 - $1)) cable=() share=${share//,/,,} work=${work//,/,,}

	[ "$nodes" = 1 ] || cable=(-device "virtio-net-pci,netdev=cable,mac=52:54:00:77:00:0$node,romfile="
		-netdev "dgram,id=cable,local.type=unix,local.path=$work/cable.$node,remote.type=unix,remote.path=$work/cable.$other")
	exec timeout -k 5 "$limit" qemu-system-x86_64 -M pc -accel tcg,thread=multi -cpu max \
		-smp "$cpus" -m "$memory" -nodefaults -no-user-config -display none -no-reboot \
		-kernel "$VM_DIR/vmlinux" -initrd "$work/initramfs.$node" -append "$append" \
		-chardev "file,id=console,path=$work/console.$node" -serial chardev:console -device virtio-serial-pci \
		-monitor "unix:$work/monitor.$node,server=on,wait=off" \
		-chardev stdio,id=output,signal=off -device virtconsole,chardev=output \
		-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
		-virtfs "local,path=$share,mount_tag=share,security_model=none" \
		-virtfs "local,path=$work/status,mount_tag=status,security_model=none" \
		-drive "if=none,id=disk,file=$work/disk.$node,format=raw,cache=unsafe,discard=unmap" \
		-device virtio-blk-pci,drive=disk \
		-device virtio-rng-pci "${cable[@]}" </dev/null
}

for tool in qemu-system-x86_64 cpio mkfs.ext4; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d "${TMPDIR:-/tmp}/cor-vm.XXXXXX")
mkdir "$work/status" "$work/share"
share=${share:-$work/share}
for ((node = 1; node <= nodes; node++)); do
	kernel=$(cut -d, -f "$node" <<<"$kernels,$kernels")
	vm_kernel "$kernel" || skip "kernel $kernel: $VM_REASON"
	[ "$rdma" != siw ] || vm_siw || skip "kernel $kernel: $VM_REASON"
	guest_archive "$node" "$@"
	{ truncate -s 8G "$work/disk.$node" && mkfs.ext4 -q "$work/disk.$node"; } ||
		skip "no file system can be made in $work"
	if [ "$nodes" = 1 ]; then
		boot "$node" &
		started[node]=$!
	else
		exec {output}> >(exec sed -u "s/^/$node: /")
		readers+=($!)
		boot "$node" >&$output 2>&1 &
		started[node]=$!
		exec {output}>&-
	fi
done

# The end of one guest: its status, or why there is none, and then the other need not
# wait for it.
status_of()
{
	local node=$1 qemu=$2

	if [ -s "$work/status/$node" ]; then
		cat "$work/status/$node"
		return
	fi
	tail -n 20 "$work/console.$node" >&2
	case $qemu in
	124|137) echo "$0: guest $node was ended after $limit s" >&2 ;;
	*) echo "$0: guest $node ended without a status, QEMU with $qemu" >&2 ;;
	esac
	kill "${started[@]}" 2>/dev/null
	echo 125
}

status=0
for ((ended = 0; ended < nodes; ended++)); do
	wait -n -p pid "${started[@]}"
	qemu=$?
	for node in "${!started[@]}"; do
		[ "${started[node]}" = "$pid" ] || continue
		unset "started[node]"
		code=$(status_of "$node" $qemu)
		[ "$status" -ne 0 ] || status=$code
	done
done
[ ${#readers[@]} -eq 0 ] || wait "${readers[@]}"
exit "$status"
