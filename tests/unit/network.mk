# unit tests of libcor/names in network namespaces: addresses, TCP connections
if HAVE_CMOCKA
network_fixture = tests/unit/net_fixture.c tests/unit/net_fixture.h
network_ldadd = libcor/libcor-internal.la $(CMOCKA_LIBS)
network_tests = tests/unit/test_tcp_repair tests/unit/test_address

check_PROGRAMS += $(network_tests)
TESTS += $(network_tests)
tests_unit_test_tcp_repair_SOURCES = tests/unit/test_tcp_repair.c $(network_fixture)
tests_unit_test_tcp_repair_LDADD = $(network_ldadd)
tests_unit_test_address_SOURCES = tests/unit/test_address.c $(network_fixture)
tests_unit_test_address_LDADD = $(network_ldadd)
endif
