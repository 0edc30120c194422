# The system tests are run by tests/run.sh, which ./check calls: they need root.
EXTRA_DIST += tests/lab.sh tests/tasks.sh tests/cut.sh tests/run.sh tests/servers.sh tests/hops.sh tests/visit.sh \
	tests/faults tests/soak tests/strike.sh \
	tests/pump.sh tests/standin.sh tests/programs/parent.py tests/programs/heed.py \
	tests/tmux.sh tests/programs/terminal.py \
	tests/programs/download.py tests/programs/items.py tests/programs/udp_items.py \
	tests/programs/udp_echo.py tests/programs/names.py tests/programs/hashes.py tests/programs/mapped.py tests/programs/swapped.py \
	tests/programs/lines.py tests/programs/rows.py tests/programs/compute.js tests/programs/Walk.java \
	tests/vm/agent tests/vm/guest tests/vm/init tests/vm/kernel.sh tests/vm/pair \
	tests/vm/kernels.sh tests/vm/run.sh tests/vm/suite.sh tests/vm/there \
	$(wildcard $(srcdir)/tests/system/*.sh)
