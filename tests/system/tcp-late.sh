# A connection that stays at home, where the bytes between the pump and the task are slow to
# arrive: what is on its way when the task stands still arrives once.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
need tc

# slow HOST: the loopback device of its pump's network namespace
# shellcheck disable=SC2016
slow_main='
	own=$(readlink "/proc/$1/ns/net")
	for fd in /proc/"$1"/fd/*; do
		case $(readlink "$fd") in
		"$own") ;;
		net:*) nsenter --net="$fd" tc qdisc replace dev lo root \
			tbf rate 6mbit burst 70kb latency 2s && exit ;;
		esac
	done
	exit 1'
slow()
{
	local pid

	pid=$(on "$1" pgrep -n -x cor-pump) || fail "no pump on $1"
	on "$1" sh -c "$slow_main" slow "$pid" >"$LAB_DIR/slow.log" 2>&1 ||
		skip "its network cannot be slowed down: $(tail -n 1 "$LAB_DIR/slow.log")"
}

visit_start unread 10.123.0.1
go B
slow B
visit_rounds 10
go C
slow C
visit_rounds 10
go B
slow B
visit_rounds 10
go A
visit_rounds 10
visit_finish
lab_end
