# unit tests of libcor/task: inject, tracee, capture
if HAVE_CMOCKA
check_PROGRAMS += test_inject
TESTS += test_inject
test_inject_SOURCES = tests/unit/test_inject.c tests/unit/victim.c tests/unit/victim.h
test_inject_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
endif
