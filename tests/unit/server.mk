# transport and the serving side of paging
if HAVE_CMOCKA
server_tests = tests/unit/test_as_user tests/unit/test_stream tests/unit/test_tls \
	tests/unit/test_choice \
	tests/unit/test_preamble \
	tests/unit/test_ticket \
	tests/unit/test_source tests/unit/test_swap \
	tests/unit/test_pack \
	tests/unit/test_server \
	tests/unit/test_fetch \
	tests/unit/test_export
check_PROGRAMS += $(server_tests)
TESTS += $(server_tests)
tests_unit_test_stream_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_as_user_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_tls_SOURCES = tests/unit/test_tls.c tests/unit/keys_fixture.c tests/unit/keys_fixture.h
tests_unit_test_tls_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS) $(GNUTLS_LIBS)
tests_unit_test_choice_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_preamble_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_ticket_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_source_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_swap_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_pack_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_server_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_fetch_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_export_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
EXTRA_DIST += tests/unit/fake_source.h

if HAVE_FABRIC
rdma_tests = tests/unit/test_rdma tests/unit/test_stream_rdma tests/unit/test_reach
check_PROGRAMS += $(rdma_tests)
TESTS += $(rdma_tests)
tests_unit_test_rdma_SOURCES = tests/unit/test_rdma.c \
	tests/unit/rdma_fixture.c tests/unit/rdma_fixture.h
tests_unit_test_rdma_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_stream_rdma_SOURCES = tests/unit/test_stream_rdma.c \
	tests/unit/rdma_fixture.c tests/unit/rdma_fixture.h
tests_unit_test_stream_rdma_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_reach_SOURCES = tests/unit/test_reach.c \
	tests/unit/rdma_fixture.c tests/unit/rdma_fixture.h
tests_unit_test_reach_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
endif
endif
