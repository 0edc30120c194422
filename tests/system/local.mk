# The system tests are run by tests/run.sh, which ./check calls: they need root.
EXTRA_DIST += tests/lab.sh tests/tasks.sh tests/run.sh $(wildcard $(srcdir)/tests/system/*.sh)
