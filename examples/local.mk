# Small programs against the installed library; compiled by tests/unit/test_examples.sh.
examplesdir = $(docdir)/examples
dist_examples_DATA = examples/export.c examples/import.c
