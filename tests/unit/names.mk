# unit tests of libcor/names: each kind of descriptor captured and made again
if HAVE_CMOCKA
names_fixture = tests/unit/files_fixture.c tests/unit/files_fixture.h
names_ldadd = libcor/libcor-internal.la $(CMOCKA_LIBS)
names_tests = tests/unit/test_files_regular tests/unit/test_files_pipe \
	tests/unit/test_files_event tests/unit/test_files_unix tests/unit/test_files_inet \
	tests/unit/test_files_table tests/unit/test_files_noticed tests/unit/test_file_locks \
	tests/unit/test_inet_diag \
	tests/unit/test_mechanism tests/unit/test_home tests/unit/test_home_plan

check_PROGRAMS += $(names_tests)
TESTS += $(names_tests)
tests_unit_test_files_regular_SOURCES = tests/unit/test_files_regular.c $(names_fixture)
tests_unit_test_files_regular_LDADD = $(names_ldadd)
tests_unit_test_files_pipe_SOURCES = tests/unit/test_files_pipe.c $(names_fixture)
tests_unit_test_files_pipe_LDADD = $(names_ldadd)
tests_unit_test_files_event_SOURCES = tests/unit/test_files_event.c $(names_fixture)
tests_unit_test_files_event_LDADD = $(names_ldadd)
tests_unit_test_files_unix_SOURCES = tests/unit/test_files_unix.c $(names_fixture)
tests_unit_test_files_unix_LDADD = $(names_ldadd)
tests_unit_test_files_inet_SOURCES = tests/unit/test_files_inet.c $(names_fixture)
tests_unit_test_files_inet_LDADD = $(names_ldadd)
tests_unit_test_files_table_SOURCES = tests/unit/test_files_table.c $(names_fixture)
tests_unit_test_files_table_LDADD = $(names_ldadd)
tests_unit_test_file_locks_SOURCES = tests/unit/test_file_locks.c
tests_unit_test_file_locks_LDADD = $(names_ldadd)
tests_unit_test_files_noticed_SOURCES = tests/unit/test_files_noticed.c $(names_fixture)
tests_unit_test_files_noticed_LDADD = $(names_ldadd)
tests_unit_test_inet_diag_LDADD = $(names_ldadd)
tests_unit_test_mechanism_SOURCES = tests/unit/test_mechanism.c $(names_fixture)
tests_unit_test_mechanism_LDADD = $(names_ldadd)
tests_unit_test_home_SOURCES = tests/unit/test_home.c tests/unit/home_fixture.c tests/unit/home_fixture.h
tests_unit_test_home_LDADD = $(names_ldadd)
tests_unit_test_home_plan_LDADD = $(names_ldadd)
endif
