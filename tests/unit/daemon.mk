# daemon and tools
if HAVE_CMOCKA
daemon_tests = tests/unit/test_config \
	tests/unit/test_request \
	tests/unit/test_record \
	tests/unit/test_state \
	tests/unit/test_session_clock \
	tests/unit/test_control \
	tests/unit/test_sandbox \
	tests/unit/test_cord \
	tests/unit/test_progress \
	tests/unit/test_probe \
	tests/unit/test_cli
check_PROGRAMS += $(daemon_tests)
TESTS += $(daemon_tests)

tests_unit_test_config_LDADD = daemon/libcord.la $(CMOCKA_LIBS)
tests_unit_test_request_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_request_LDADD = daemon/libcord.la $(CMOCKA_LIBS)
tests_unit_test_record_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_record_LDADD = daemon/libcord.la $(CMOCKA_LIBS)
tests_unit_test_state_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_state_LDADD = daemon/libcord.la $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_test_control_SOURCES = tests/unit/test_control.c \
	daemon/control.c daemon/control.h
nodist_tests_unit_test_control_SOURCES = daemon/control.pb-c.c
tests_unit_test_control_LDADD = libcor/libcor-internal.la $(PROTOBUF_C_LIBS) $(CMOCKA_LIBS)
tests_unit_test_sandbox_SOURCES = tests/unit/test_sandbox.c daemon/sandbox.c daemon/sandbox.h
tests_unit_test_sandbox_CFLAGS = $(AM_CFLAGS) $(CAPNG_CFLAGS) $(SECCOMP_CFLAGS)
tests_unit_test_sandbox_LDADD = libcor/libcor-internal.la $(CAPNG_LIBS) $(SECCOMP_LIBS) $(CMOCKA_LIBS)
tests_unit_test_session_clock_SOURCES = tests/unit/test_session_clock.c \
	daemon/session/clock.c daemon/session/clock.h
tests_unit_test_session_clock_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_cord_SOURCES = tests/unit/test_cord.c \
	tests/unit/cord_fixture.c tests/unit/cord_fixture.h
tests_unit_test_cord_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_cord_LDADD = daemon/libcord.la $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_test_progress_SOURCES = tests/unit/test_progress.c tools/progress.c tools/output.c
tests_unit_test_progress_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_progress_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_test_probe_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_cli_CPPFLAGS = $(AM_CPPFLAGS) -DBUILD_DIR='"$(abs_top_builddir)"'
tests_unit_test_cli_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_cli_LDADD = $(CMOCKA_LIBS) $(JANSSON_LIBS)
endif
