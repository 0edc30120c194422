# cor-bench: that it runs and says what it should; not how fast anything is
EXTRA_DIST += tests/unit/test_bench.sh
TESTS += tests/unit/test_bench.sh
