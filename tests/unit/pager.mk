# The pager and what it is made of. Need userfaultfd(2).
if HAVE_CMOCKA
pager_tests = tests/unit/test_space tests/unit/test_trend tests/unit/test_uffd \
	tests/unit/test_journal tests/unit/test_retake tests/unit/test_pager_missing \
	tests/unit/test_pager_faults tests/unit/test_pager_drain tests/unit/test_pager_check \
	tests/unit/test_import tests/unit/test_collapse
check_PROGRAMS += $(pager_tests)
TESTS += $(pager_tests)

pager_fixture = tests/unit/pager_fixture.c tests/unit/pager_fixture.h \
	tests/unit/toy_server.c tests/unit/toy_server.h

tests_unit_test_space_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_trend_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_uffd_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_journal_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_pager_missing_SOURCES = tests/unit/test_pager_missing.c $(pager_fixture)
tests_unit_test_pager_missing_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_retake_SOURCES = tests/unit/test_retake.c $(pager_fixture)
tests_unit_test_retake_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_pager_faults_SOURCES = tests/unit/test_pager_faults.c $(pager_fixture)
tests_unit_test_pager_faults_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_pager_drain_SOURCES = tests/unit/test_pager_drain.c $(pager_fixture)
tests_unit_test_pager_drain_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_pager_check_SOURCES = tests/unit/test_pager_check.c $(pager_fixture)
tests_unit_test_pager_check_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_collapse_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_import_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
endif
