# cor-bench: that it runs and says what it should; not how fast anything is
EXTRA_DIST += tests/unit/test_bench.sh
TESTS += tests/unit/test_bench.sh
# the examples, as a user would compile them
EXTRA_DIST += tests/unit/test_examples.sh
TESTS += tests/unit/test_examples.sh
