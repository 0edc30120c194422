# A client of another host's server, half of the time with a connection and half of it without:
# in most moves it has one in the freeze and had none when that was prepared, or the other way
# round. Two attempts are enough.
. "$(dirname "$0")/../tasks.sh"
need python3
lab_up A B C
spawn C server python3 "$LAB_TOP/tests/programs/visitor.py" serve "${LAB_ADDR[C]}" 7000
server=$SPAWNED
server_listens()
{
	on C ss -Hltn "sport = :7000" | grep -q .
}
wait_for 20 server_listens || fail "the server does not listen"
start_foreign A visitor python3 "$LAB_TOP/tests/programs/visitor.py" visit "${LAB_ADDR[C]}" 7000
twice=0
for ((i = 0; i < 6; i++)); do
	go B --attempts 2
	[ "$(result .attempts)" = 1 ] || twice=$((twice + 1))
	rounds 3
	go A --attempts 2
	[ "$(result .attempts)" = 1 ] || twice=$((twice + 1))
	rounds 3
done
echo "12 moves, $twice of them by a second attempt"
finish
on C kill -KILL "$server"
wait_for 10 gone C "$server"
lab_end
