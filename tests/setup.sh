# What ./check and ./demo need before they begin: packages (on Debian and what
# derives from it) and a build. Sourced by bash.

SETUP_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SETUP_JOBS=$(nproc)

SETUP_BUILD_PACKAGES=(gcc libc6-dev make autoconf automake libtool pkg-config
	protobuf-c-compiler libprotobuf-c-dev liburing-dev libjansson-dev libcap-ng-dev libseccomp-dev
	libxxhash-dev liblz4-dev libfuse3-dev libinih-dev uthash-dev libgnutls28-dev libcmocka-dev
	libfabric-dev libibverbs-dev librdmacm-dev)
SETUP_LAB_PACKAGES=(iproute2 util-linux procps jq gnutls-bin)
SETUP_TASK_PACKAGES=(redis-server redis-tools memcached python3 sqlite3 nodejs tcc tmux bc bzip2 openssl
	tcl haproxy nginx-light)
# Without these the tests in virtual machines are skipped.
SETUP_VM_PACKAGES=(qemu-system-x86 busybox-static cpio kmod zstd xz-utils binutils e2fsprogs socat)

setup_missing()
{
	local package

	for package; do
		dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null |
			grep -q '^install ok installed$' || echo "$package"
	done
}

# Servers that are installed here are only for the lab: none is started.
setup_install()
{
	local policy=/usr/sbin/policy-rc.d status=0

	[ -e $policy ] && policy=
	[ -z "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy; }
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get -q update && apt-get -q install -y --no-install-recommends "$@"; } \
		>"$SETUP_LOG" 2>&1 || status=$?
	[ -z "$policy" ] || rm -f $policy
	return $status
}

# setup_packages PACKAGE...: installs what is missing, only if something is.
setup_packages()
{
	local missing=()

	command -v dpkg-query >/dev/null || {
		echo "not a Debian: please see to it that these are there: $*"
		return 0
	}
	mapfile -t missing < <(setup_missing "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	echo "installing ${missing[*]}"
	[ "$(id -u)" = 0 ] || { echo "installing packages needs root" >&2; return 1; }
	SETUP_LOG=$(mktemp "${TMPDIR:-/tmp}/cor-setup.XXXXXX")
	if ! setup_install "${missing[@]}"; then
		tail -n 30 "$SETUP_LOG" >&2
		rm -f "$SETUP_LOG"
		return 1
	fi
	rm -f "$SETUP_LOG"
}

# setup_build DIR [CONFIGURE-OPTION...]: builds cor there, the workloads too.
setup_build()
{
	local dir=$1 log=$1/build.log

	shift
	mkdir -p "$dir" || return
	if ! (
		{ [ -x "$SETUP_TOP/configure" ] || (cd "$SETUP_TOP" && autoreconf -fi); } &&
		cd "$dir" &&
		{ [ -f Makefile ] || "$SETUP_TOP/configure" -q "$@"; } &&
		make -j"$SETUP_JOBS" && make -j"$SETUP_JOBS" lab-programs
	) >"$log" 2>&1 </dev/null; then
		tail -n 40 "$log" >&2
		return 1
	fi
	! grep -E 'warning:' "$log" >&2
}
