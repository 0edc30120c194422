# Tasks whose peer is on a third host, which must not notice that they move. Sourced by
# system tests, behind tasks.sh.

PEER=
PEER_OUT=
VISIT=tcp       # the program: tcp, udp

# visit_start KIND [ADDRESS]: the task on A, its peer on C.
visit_start()
{
	local address=${2:-$LAB_FLOAT}

	lab_up A B C
	lab_float A
	if [ "$1" = client ] || [ "$1" = anew ]; then
		visit_peer "$1" "$address"
		wait_for 10 visit_listens "$1"
		start A $VISIT serve "$1" "$address" 7000
	else
		spawn A $VISIT $VISIT -p "$LAB_DIR/A/$VISIT.beat" serve "$1" "$address" 7000
		TASK=$VISIT
		TASK_HOST=A
		TASK_PID=$SPAWNED
		TASK_OUT=$LAB_DIR/A/$VISIT
		wait_for 10 visit_is_served
		visit_peer "$1" "$address"
	fi
	wait_for 20 test -s "$TASK_OUT.beat" || fail "$VISIT serve $1 did not begin"
	wait_for 20 test -s "$PEER_OUT.beat" || { cat "$PEER_OUT".* "$TASK_OUT".* >&2; on C ss -tun >&2; fail "$VISIT visit $1 did not begin"; }
}

visit_is_served()
{
	on A ss -Hltun "sport = :7000" | grep -q .
}

visit_listens()
{
	on C ss -Hltun "sport = :7000" | grep -q .
}

visit_peer()
{
	PEER_OUT=$LAB_DIR/C/peer
	spawn C peer $VISIT -p "$PEER_OUT.beat" visit "$1" "$2" 7000
	PEER=$SPAWNED
}

# Both have done N rounds more.
visit_rounds()
{
	local out

	rounds "$1"
	out=$TASK_OUT
	TASK_OUT=$PEER_OUT
	rounds "$1"
	TASK_OUT=$out
}

# Both end, and both are content.
visit_finish()
{
	on "$TASK_HOST" kill -TERM "$TASK_PID"
	on C kill -TERM "$PEER"
	if ! wait_for 20 gone "$TASK_HOST" "$TASK_PID" || ! wait_for 20 gone C "$PEER"; then
		on "$TASK_HOST" ss -tunoi >&2
		on C ss -tunoi >&2
		fail "one of them does not end"
	fi
	cat "$TASK_OUT.err" "$PEER_OUT.err" >&2
	tail -qn 1 "$TASK_OUT.out" "$PEER_OUT.out"
	! tail -qn 1 "$TASK_OUT.out" "$PEER_OUT.out" | grep -v '^ok ' || fail "a verdict"
}

# The same for what is forwarded: the task is on A, and B and C in turn, its address stays.
visited_from_home()
{
	visit_start "$1" "$2"
	go B
	visit_rounds 10
	go C
	visit_rounds 10
	go A
	visit_rounds 10
	visit_finish
	lab_end
}

# visited KIND [ADDRESS PREFIX]: the shape of most tests.
visited()
{
	local address=${2:-$LAB_FLOAT} prefix=${3:-24}

	visit_start "$1" "$address"
	go B --address "$address/$prefix"
	visit_rounds 10
	go A --address "$address/$prefix"
	visit_rounds 10
	visit_finish
	lab_end
}
