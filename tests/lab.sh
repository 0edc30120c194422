# A lab of hosts on this machine, for system tests, ./demo and work by hand.
# Sourced by bash; see docs/testing.md.
#
# A host has network, PID, mount, UTS and IPC namespaces of its own, with its
# own /proc, /run and /dev/shm. The root file system and /tmp are common, as on
# machines installed alike with a shared home. A host's PID 1 reaps orphans.
# LAB_ROOT=own: every host has a root file system of its own, a copy of this machine's
# that it may change (overlayfs), but for the lab's own directory and the build.
# LAB_OWN="DIR...": only these directories are each host's own, and empty.
# The hosts' network reaches nothing outside the lab, so any number of labs can
# be up at once with the same addresses.
#
# With COR_LAB_THERE, a command that runs another on a second machine (as ssh would,
# with this lab's directory there too), all hosts but the first are on that one, and
# COR_LAB_CABLE is the network device that joins the two. So the tests cross from one
# kernel to another: see tests/vm. With COR_LAB_ADDRS, the addresses of the two machines, each
# has one host, on the machine's own network: soft-RoCE knows no other.
#
#	lab_up [NAME...]           the hosts (default: A B), each with a cord
#	lab_down                   ends all that lab_up started (trapped on exit)
#	on HOST CMD...             runs CMD there, in the foreground
#	spawn HOST NAME CMD...     starts CMD there, detached; SPAWNED is its PID there
#	migrate HOST PID TO [OPT]  cor migrate --json; see result and MOVED
#	result FILTER              jq on the last migration's result
#	lab_mark, lab_leaks        what the hosts hold now; what they hold more since
#	lab_end                    lab_leaks, and the daemons end as they should
#	lab_float HOST             HOST has the floating addresses LAB_FLOAT and LAB_FLOAT6

LAB_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
COR_BUILD=${COR_BUILD:-$LAB_TOP/build}
LAB_PORT=7474
LAB_FLOAT=10.123.0.100
LAB_FLOAT6=fd0a:7b::100
LAB_DIR=
LAB_SHM=
LAB_HOSTS=()
declare -A LAB_VIA=() LAB_INIT=() LAB_HOLDER=() LAB_ADDR=() LAB_CORD=()
SPAWNED=
MOVED=

PATH=$COR_BUILD:$COR_BUILD/tools:$COR_BUILD/daemon:$COR_BUILD/tests/programs:$COR_BUILD/tests/peers:$PATH
export COR_PRELOAD=${COR_PRELOAD:-$COR_BUILD/preload/.libs/libcor-preload.so}

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

# The runner shows the reason.
skip()
{
	echo "skip: $*"
	exit 77
}

need()
{
	local tool

	for tool; do
		command -v "$tool" >/dev/null || skip "$tool is not installed"
	done
}

# need_transport NAME: of this build, on this host.
need_transport()
{
	cor check --json | jq -e --arg t "$1" '.transports[$t]' >/dev/null ||
		skip "$(cor check | sed -n "s/^\($1\) *no .*(\(.*\))$/the transport \1: \2/p")"
}

# over_tcp WHY: where pages must go over another transport (COR_TEST_TRANSPORT), the test makes
# no sense.
over_tcp()
{
	case ${COR_TEST_TRANSPORT:-tcp} in
	tcp) ;;
	*) skip "not over $COR_TEST_TRANSPORT: $1" ;;
	esac
}

# wait_for SECONDS CMD...: until CMD succeeds. Only for conditions that offer
# nothing to block on (another process's state, a port). COR_TIME_SCALE is how many
# times slower than usual this machine may be, as in an emulated one.
wait_for()
{
	local end=$((${EPOCHREALTIME/[^0-9]/} + $1 * ${COR_TIME_SCALE:-1} * 1000000))

	shift
	until "$@"; do
		[ "${EPOCHREALTIME/[^0-9]/}" -lt $end ] || return 1
		sleep 0.02
	done
}

# ---- hosts -------------------------------------------------------------------

# What a host does first, inside its namespaces. $1: name, $2: file for its PID
# as seen from outside, $3: what is its own of the root, $4: the lab's directory,
# $5: the build's, $6: a directory for /dev/shm, common to all; empty: its own.
lab_host_main='
	set -e
	read -r pid rest </proc/self/stat
	if [ "$3" = own ]; then
		base=$4/$1/root
		mkdir -p "$base"
		mount -t tmpfs -o mode=755 tmpfs "$base"
		mkdir "$base/upper" "$base/work" "$base/all"
		mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" \
			overlay "$base/all"
		for dir in /proc /sys /dev; do
			mount --rbind "$dir" "$base/all$dir"
		done
		for dir in "$4" "$5"; do
			mkdir -p "$base/all$dir"
			mount --bind "$dir" "$base/all$dir"
		done
		cd "$base/all"
		pivot_root . mnt
		cd /
		umount -l /mnt
	else
		for dir in $3; do
			mkdir -p "$dir"
			mount -t tmpfs -o mode=755 tmpfs "$dir"
		done
	fi
	mount -t proc proc /proc
	mount -t tmpfs -o mode=755,size=64m tmpfs /run
	if [ -n "$6" ]; then
		mount --bind "$6" /dev/shm
	else
		mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	fi
	mkdir -p /run/cor
	hostname "$1"
	ip link set lo up
	echo "$pid" >"$2.tmp" && mv "$2.tmp" "$2"
	exec env --ignore-signal=CHLD sleep infinity'

# lab_host NAME: LAB_CLOCK_SHIFT, if set, moves its monotonic and boot clocks.
lab_host()
{
	local name=$1 dir=$LAB_DIR/$1 clock=() net=--net

	mkdir "$dir"
	[ -n "${LAB_CLOCK_SHIFT:-}" ] && [ "$name" != A ] &&
		clock=(--time --monotonic "$LAB_CLOCK_SHIFT" --boottime "$LAB_CLOCK_SHIFT")
	[ -z "${COR_LAB_ADDRS:-}" ] || net=
	# shellcheck disable=SC2086 # a command, or nothing
	${LAB_VIA[$name]} setpriv --pdeathsig KILL \
		unshare $net --pid --mount --uts --ipc "${clock[@]}" --fork --kill-child \
		--propagation private -- \
		bash -c "$lab_host_main" "host-$name" "$name" "$dir/init" \
		"${LAB_ROOT:-${LAB_OWN:-}}" "$LAB_DIR" "$COR_BUILD" "$LAB_SHM" \
		</dev/null >"$dir/init.log" 2>&1 &
	LAB_HOLDER[$name]=$!
	if ! wait_for 10 test -s "$dir/init"; then
		cat "$dir/init.log" >&2
		fail "host $name did not come up"
	fi
	LAB_INIT[$name]=$(<"$dir/init")
	LAB_HOSTS+=("$name")
}

# Two hosts share one veth pair; more hang on a bridge on the first.
lab_network()
{
	local names=("$@") first=$1 name i addrs

	if [ -n "${COR_LAB_ADDRS:-}" ]; then
		[ $# -eq 2 ] || skip "there is room for two hosts"
		read -ra addrs <<<"$COR_LAB_ADDRS"
		LAB_ADDR=([$1]=${addrs[0]} [$2]=${addrs[1]})
		return
	fi
	for i in "${!names[@]}"; do
		LAB_ADDR[${names[i]}]=10.123.0.$((i + 1))
	done
	if [ -n "${COR_LAB_CABLE:-}" ]; then
		for name in "${names[@]}"; do
			# by a name that neither there nor here is in use
			${LAB_VIA[$name]} ip link add "host-$name" link "$COR_LAB_CABLE" \
				netns "${LAB_INIT[$name]}" type macvlan mode bridge
			on "$name" ip link set "host-$name" name eth0
		done
	elif [ ${#names[@]} -eq 2 ]; then
		ip link add eth0 netns "${LAB_INIT[$1]}" type veth \
			peer name eth0 netns "${LAB_INIT[$2]}"
	else
		on "$first" ip link add eth0 type bridge
		for name in "${names[@]:1}"; do
			ip link add "to-$name" netns "${LAB_INIT[$first]}" type veth \
				peer name eth0 netns "${LAB_INIT[$name]}"
			on "$first" ip link set "to-$name" master eth0 up
		done
	fi
	for name in "${names[@]}"; do
		on "$name" ip addr add "${LAB_ADDR[$name]}/24" dev eth0
		on "$name" ip addr add "fd0a:7b::${LAB_ADDR[$name]##*.}/64" dev eth0 nodad
		on "$name" ip link set eth0 up
		lab_adapter "$name"
	done
}

# COR_TEST_RDMA=siw: each host has a soft-iWARP adapter on its eth0. Its name is one of
# the machine's, not of the host's. It goes with the interface.
lab_adapter()
{
	[ -n "${COR_TEST_RDMA:-}" ] || return 0
	on "$1" rdma link add "$COR_TEST_RDMA-$1-$$" type "$COR_TEST_RDMA" netdev eth0 ||
		fail "host $1 gets no $COR_TEST_RDMA adapter"
}

# What a daemon waits for its peer, on a machine that is slower than usual.
lab_timeouts()
{
	local scale=${COR_TIME_SCALE:-1}

	[ "$scale" -gt 1 ] || return 0
	[ "$scale" -le 60 ] || scale=60         # what cord takes at most
	printf '%s\n' "[timeouts]" "preamble-s = $((10 * scale))" "connect-s = $((10 * scale))" \
		"prepare-s = $((60 * scale))" "freeze-ms = $((10000 * scale))"
}

# Addresses that move along with a task: cor migrate --address "$LAB_FLOAT/24".
lab_float()
{
	on "$1" ip addr add "$LAB_FLOAT/24" dev eth0
	on "$1" ip addr add "$LAB_FLOAT6/64" dev eth0 nodad
}

# lab_cord HOST: starts (or starts again) its daemon and waits until it answers.
# LAB_CONFIG, if set, is the text of its configuration; @HOST@ in it is the host's name,
# @DIR@ its directory. With keys in it, LAB_KEYS is to be set: then nothing is insecure.
# It begins with as few descriptors as a service manager gives to a daemon.
lab_cord()
{
	local name=$1 conf=$LAB_DIR/$1/cord.conf config=() text=${LAB_CONFIG:-}

	text=${text//@HOST@/$name}
	{ lab_timeouts; [ -z "$text" ] || printf '%s\n' "${text//@DIR@/$LAB_DIR/$name}"; } >"$conf"
	[ ! -s "$conf" ] || config=(--config "$conf")
	[ -n "${LAB_KEYS:-}" ] || config+=(--insecure)
	spawn "$name" cord prlimit --nofile=1024: cord --name "$name" \
		--listen "${LAB_ADDR[$name]}:$LAB_PORT" \
		--control /run/cor/cord.sock --state-dir /run/cor/state "${config[@]}"
	LAB_CORD[$name]=$SPAWNED
	if ! wait_for 10 on "$name" test -S /run/cor/cord.sock ||
	   ! wait_for 10 lab_cord_answers "$name"; then
		cat "$LAB_DIR/$name/cord.err" >&2
		fail "cord on host $name does not answer"
	fi
}

lab_cord_answers()
{
	on "$1" cor status >/dev/null 2>&1
}

# What this shell's parents have left open must not get into the hosts: it would
# be a reason to refuse their tasks. 255 is bash's own.
lab_close_inherited()
{
	local fd

	for fd in /proc/$$/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
	done
}

lab_up()
{
	local names=("$@") name

	lab_close_inherited
	[ $# -gt 0 ] || names=(A B)
	[ "$(id -u)" = 0 ] || skip "the lab needs root, for its namespaces"
	trap lab_exit EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	LAB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/cor-lab.XXXXXX")
	chmod 755 "$LAB_DIR"
	if [ "${COR_TEST_TRANSPORT:-}" = fabric:shm ]; then
		# through which the hosts reach each other
		LAB_SHM=$(mktemp -d /dev/shm/cor-lab.XXXXXX)
		chmod 1777 "$LAB_SHM"
	fi
	for name in "${names[@]}"; do
		LAB_VIA[$name]=
		[ "$name" = "${names[0]}" ] || LAB_VIA[$name]=${COR_LAB_THERE:-}
		lab_host "$name"
	done
	lab_network "${names[@]}"
	if [ -z "${LAB_NO_CORD:-}" ]; then
		for name in "${names[@]}"; do
			lab_cord "$name"
		done
	fi
	lab_mark
}

# The end of a host's PID 1 ends all of its processes, the ones in PID
# namespaces below it too; with the last one the namespaces go.
lab_down()
{
	local name

	for name in "${!LAB_HOLDER[@]}"; do
		${LAB_VIA[$name]} kill -KILL "${LAB_INIT[$name]:-${LAB_HOLDER[$name]}}" \
			2>/dev/null || :
		wait "${LAB_HOLDER[$name]}" 2>/dev/null || :
	done
	LAB_HOSTS=()
	LAB_INIT=()
	LAB_HOLDER=()
}

lab_exit()
{
	local status=$? name

	trap - EXIT
	set +e
	if [ $status -ne 0 ] && [ $status -ne 77 ] && [ -n "$LAB_DIR" ]; then
		for name in "${LAB_HOSTS[@]}"; do
			[ -s "$LAB_DIR/$name/cord.err" ] || continue
			echo "--- cord on host $name said:" >&2
			tail -n 40 "$LAB_DIR/$name/cord.err" >&2
		done
	fi
	lab_down
	[ -z "$LAB_SHM" ] || rm -rf --one-file-system "$LAB_SHM"
	if [ -n "$LAB_DIR" ]; then
		if [ $status -ne 0 ] && [ -n "${COR_KEEP:-}" ]; then
			echo "kept: $LAB_DIR" >&2
		else
			rm -rf --one-file-system "$LAB_DIR" "${HELD_DIR:-$LAB_DIR}"
		fi
	fi
	exit $status
}

# ---- processes on a host -------------------------------------------------------

on()
{
	local host=$1

	shift
	# shellcheck disable=SC2086 # a command, or nothing
	${LAB_VIA[$host]} nsenter -t "${LAB_INIT[$host]}" --net --pid --mount --uts --ipc \
		${LAB_CLOCK_SHIFT:+--time} -- "$@"
}

# The files are opened on the host, so that they belong to its mounts.
# shellcheck disable=SC2016
lab_spawn_main='
	cd "$1" && out=$2 && shift 2 || exit 1
	setsid "$@" </dev/null >"$out.out" 2>"$out.err" &
	echo $!'

spawn()
{
	local host=$1 name=$2 dir=$LAB_DIR/$1

	shift 2
	SPAWNED=$(on "$host" bash -c "$lab_spawn_main" spawn "$dir" "$dir/$name" "$@")
}

# alive HOST PID: is it there, and no zombie?
alive()
{
	local state

	# shellcheck disable=SC2016
	state=$(on "$1" sh -c 'read -r pid comm state rest <"/proc/$1/stat" && echo "$state"' \
		sh "$2" 2>/dev/null) || return 1
	[ "$state" != Z ]
}

gone()
{
	! alive "$1" "$2"
}

# ---- migrations ------------------------------------------------------------------

# Leaves the exit status of cor as its own, the result in $LAB_DIR/migrate.json,
# what cor said in $LAB_DIR/migrate.err and the PID on the destination in MOVED.
migrate()
{
	local from=$1 pid=$2 to=$3 status=0

	shift 3
	on "$from" cor migrate "$pid" "${LAB_ADDR[$to]}:$LAB_PORT" --json \
		${COR_TEST_TRANSPORT:+--transport "$COR_TEST_TRANSPORT"} "$@" \
		</dev/null >"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" || status=$?
	MOVED=
	[ $status -eq 0 ] || return $status
	[ -z "${COR_TEST_TRANSPORT:-}" ] || [ "$(result .transport)" = "$COR_TEST_TRANSPORT" ] || {
		fail "the pages did not go over $COR_TEST_TRANSPORT: $(result '.warnings // "nobody says why"')"
	}
	MOVED=$(result .destination_pid)
}

result()
{
	jq -er "$1" "$LAB_DIR/migrate.json"
}

# migrate, which must succeed.
move()
{
	migrate "$@" || {
		local status=$?

		cat "$LAB_DIR/migrate.err" "$LAB_DIR/migrate.json" >&2
		fail "cor migrate $2 from $1 to $3: exit status $status"
	}
}

# ---- leaks -----------------------------------------------------------------------

# Everything a host holds, a line each, in an order that can be compared.
# shellcheck disable=SC2016
lab_inventory_main='
	cord=$1
	for p in /proc/[0-9]*; do
		pid=${p#/proc/}
		[ "$pid" = $$ ] && continue
		IFS= read -r comm <"$p/comm" || continue
		# it may have been started anew
		[ "$pid" = "$cord" ] && comm= pid=cord
		echo "process $pid $comm"
	done 2>/dev/null
	find /proc/[0-9]*/ns "(" -name pid -o -name net -o -name mnt -o -name user -o -name time \
		-o -name uts -o -name ipc ")" -printf "namespace %l\n"
	find /proc/"$cord"/fd -type l -printf "descriptor of cord: %l\n" | sed "s/:\[[0-9]*\]//"
	for t in /proc/"$cord"/task/*; do echo "thread of cord"; done
	cut -d" " -f5,9- /proc/1/mountinfo | sed "s/^/mount /"
	find /run /dev/shm -mindepth 1 -printf "file %p\n" | grep -v "^file /run/cor/state/"'

lab_inventory()
{
	on "$1" sh -c "$lab_inventory_main" inventory "${LAB_CORD[$1]:-0}" 2>/dev/null |
		sort | awk '/^namespace/ { if (!seen[$0]++) print; next } { print }'
}

lab_cord_kib()
{
	on "$1" awk '/^RssAnon:/ { print $2 }' "/proc/${LAB_CORD[$1]:-1}/status"
}

lab_mark()
{
	local name

	for name in "${LAB_HOSTS[@]}"; do
		lab_inventory "$name" >"$LAB_DIR/$name/before"
	done
	lab_mark_memory
}

# Again when caches are warm, where growth is to be seen.
lab_mark_memory()
{
	local name

	for name in "${LAB_HOSTS[@]}"; do
		lab_cord_kib "$name" >"$LAB_DIR/$name/before.kib"
	done
}

lab_leaked()
{
	lab_inventory "$1" >"$LAB_DIR/$1/after"
	# -1 and -3: only what is there now and was not before
	comm -13 "$LAB_DIR/$1/before" "$LAB_DIR/$1/after" >"$LAB_DIR/$1/leaked"
	[ ! -s "$LAB_DIR/$1/leaked" ]
}

# Fails with the names of what has been left over since lab_mark. Memory of
# cord may grow by LAB_KIB (its pools and the allocator's).
lab_leaks()
{
	local name grown

	for name in "${LAB_HOSTS[@]}"; do
		if ! wait_for 5 lab_leaked "$name"; then
			sed "s/^/left on $name: /" "$LAB_DIR/$name/leaked" >&2
			fail "host $name holds more than before"
		fi
		grown=$(($(lab_cord_kib "$name") - $(<"$LAB_DIR/$name/before.kib")))
		[ $grown -le "${LAB_KIB:-32768}" ] ||
			fail "cord on host $name grew by $grown KiB"
	done
}

# A daemon ends on SIGTERM, and a sanitizer has found nothing in it.
lab_end()
{
	local name

	lab_leaks
	for name in "${LAB_HOSTS[@]}"; do
		on "$name" kill -TERM "${LAB_CORD[$name]}"
		wait_for 10 gone "$name" "${LAB_CORD[$name]}" ||
			fail "cord on host $name does not end on SIGTERM"
		! grep -E 'Sanitizer|runtime error:' "$LAB_DIR/$name"/cord.* >&2 ||
			fail "a sanitizer found something in cord on host $name"
	done
}
