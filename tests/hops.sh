# hops MIB N: a pattern over MIB MiB from four threads, moved N times between the
# hosts; PIDs and TIDs are verified by the program, leftovers by the lab.
hops()
{
	local to=B i

	lab_up
	start A pattern "$1"
	for ((i = 1; i <= $2; i++)); do
		go $to
		echo "hop $i: freeze $(result .freeze_us) us, drain $(result .drain_us) us," \
			"$(result .pages) pages, $(result .pages_demand) on demand"
		rounds 2
		[ $to = A ] && to=B || to=A
		[ $i -ne 2 ] || lab_mark_memory
	done
	finish
	lab_end
}
