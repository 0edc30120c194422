# unit tests of libcor/names: each kind of descriptor captured and made again
if HAVE_CMOCKA
names_fixture = tests/unit/files_fixture.c tests/unit/files_fixture.h
names_ldadd = libcor/libcor-internal.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_files_regular
TESTS += tests/unit/test_files_regular
tests_unit_test_files_regular_SOURCES = tests/unit/test_files_regular.c $(names_fixture)
tests_unit_test_files_regular_LDADD = $(names_ldadd)
endif
