# man
dist_man_MANS += man/libcor.3
dist_man_MANS += man/cor-protocol.7
dist_man_MANS += man/cor-bench.1
dist_man_MANS += man/cor_export.3
dist_man_MANS += man/cor.1 man/cord.8
dist_man_MANS += man/cor_import.3
EXTRA_DIST += docs/architecture.md docs/performance.md docs/performance-fault.svg docs/performance-drain.svg docs/performance-freeze.svg docs/protocol.md docs/names.md
