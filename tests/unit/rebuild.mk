# rebuild: supervisor, stub, memory, threads
if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_rebuild
TESTS += tests/unit/test_rebuild
endif
tests_unit_test_rebuild_SOURCES = tests/unit/test_rebuild.c
tests_unit_test_rebuild_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
