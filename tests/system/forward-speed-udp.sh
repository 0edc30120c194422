# What it costs that the address of a UDP server stays: questions of one client at a time
# where it began, elsewhere through its home, and back. None may be lost.
. "$(dirname "$0")/../tasks.sh"
need python3
lab_up A B C
echo_py=$(realpath "$(dirname "$0")/../programs/udp_echo.py")
spawn A server python3 "$echo_py" serve "${LAB_ADDR[A]}" 7000
pid=$SPAWNED
bound() { on A ss -Hlun "sport = :7000" | grep -q .; }
wait_for 10 bound || fail "the server does not begin"

# measure WHERE
measure()
{
	local said

	said=$(on C python3 "$echo_py" ask "${LAB_ADDR[A]}" 7000 2000)
	[ "${said##* }" = 0 ] || fail "$1: ${said##* } of 2000 questions had no answer"
	echo "$1: a question of one client $(awk '{ print $1 " ms (median), " $2 " ms at most" }' <<<"$said")"
}

measure "at home"
move A "$pid" B
measure "forwarded"
move B "$MOVED" A
measure "back, through two pumps"
on A kill -TERM "$MOVED"
wait_for 10 gone A "$MOVED" || fail "the server does not end"
lab_end
