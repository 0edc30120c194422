# A host that has not heard where a moved address is now, though it was told, is told again: it
# does not send into the void until its own table grows old.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
visit_start echo
before=$(on A ip -o link show eth0 | sed "s/.*ether \([0-9a-f:]*\).*/\1/")
visit_rounds 2
go B --address "$LAB_FLOAT/24"
# as if it had been lost
on C ip neigh replace "$LAB_FLOAT" lladdr "$before" dev eth0 nud reachable
told()
{
	! on C ip neigh show "$LAB_FLOAT" | grep -q "$before"
}
wait_for 5 told || fail "host C still sends to host A: $(on C ip neigh show "$LAB_FLOAT")"
visit_rounds 3
visit_finish
lab_end
