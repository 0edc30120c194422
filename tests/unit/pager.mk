# The pager and what it is made of. Need userfaultfd(2).
if HAVE_CMOCKA
pager_tests = tests/unit/test_space tests/unit/test_uffd
check_PROGRAMS += $(pager_tests)
TESTS += $(pager_tests)

tests_unit_test_space_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_uffd_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
endif
