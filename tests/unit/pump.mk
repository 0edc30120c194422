# unit tests of the pump: what leads outside of a task
if HAVE_CMOCKA
pump_tests = tests/unit/test_pump tests/unit/test_forward tests/unit/test_udp tests/unit/test_pump_tty tests/unit/test_pump_greet

check_PROGRAMS += $(pump_tests)
TESTS += $(pump_tests)
tests_unit_test_pump_SOURCES = tests/unit/test_pump.c
tests_unit_test_pump_LDADD = $(names_ldadd)
tests_unit_test_forward_LDADD = $(names_ldadd)
tests_unit_test_udp_LDADD = $(names_ldadd)
tests_unit_test_pump_tty_LDADD = $(names_ldadd)
tests_unit_test_pump_greet_LDADD = $(names_ldadd)
endif
