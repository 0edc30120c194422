# short
# memcached that is asked over UDP at an address which stays: there, further on and back its
# clients, on a third host and on its own, get an answer to every request.
. "$(dirname "$0")/../tasks.sh"
need memcached python3
items=$(dirname "$0")/../programs/udp_items.py
lab_up A B C
spawn A memcached memcached -u root -p 11311 -U 11311 -l "${LAB_ADDR[A]}" -m 64
pid=$SPAWNED
listening() { on A ss -Hlun "sport = :11311" | grep -q .; }
wait_for 10 listening || fail "memcached does not listen"
declare -A client
for host in C A; do
	spawn $host items python3 "$(realpath "$items")" "${LAB_ADDR[A]}" 11311 "$LAB_DIR/$host/items.beat"
	client[$host]=$SPAWNED
done

asked()
{
	local n

	[ -s "$LAB_DIR/$1/items.beat" ] && read -r n <"$LAB_DIR/$1/items.beat" && [ "${n:-0}" -ge "$2" ]
}

# served N: both have asked that often.
served()
{
	for host in C A; do
		wait_for 20 asked $host "$1" || fail "the client on $host gets no answers: $(cat "$LAB_DIR/$host/items."*)"
	done
}

served 50
from=A
for to in B C A; do
	move $from "$pid" $to
	pid=$MOVED
	from=$to
	served $(($(beat_of C) + 100))
done
on A cor status | head -n 3
for host in C A; do
	on $host kill -TERM "${client[$host]}"
	wait_for 10 gone $host "${client[$host]}" || fail "the client on $host does not end"
	echo "$host: $(cat "$LAB_DIR/$host/items.out")"
	grep -q '^ok .* 0 without an answer' "$LAB_DIR/$host/items.out" ||
		fail "$(cat "$LAB_DIR/$host/items."*)"
done
on A kill "$pid"
wait_for 5 gone A "$pid" || fail "memcached does not end"
closed() { ! on A ss -Hlun "sport = :11311" | grep -q .; }
wait_for 5 closed || fail "the home has its socket still"
lab_end
