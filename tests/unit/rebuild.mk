# rebuild: supervisor, stub, memory, threads
if HAVE_CMOCKA
rebuild_tests = tests/unit/test_rebuild tests/unit/test_vdso tests/unit/test_layout \
	tests/unit/test_rebuild_task tests/unit/test_rebuild_turns tests/unit/test_rebuild_numbers \
	tests/unit/test_clone tests/unit/test_rebuild_objects
check_PROGRAMS += $(rebuild_tests)
TESTS += $(rebuild_tests)
tests_unit_test_rebuild_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_vdso_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_layout_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
handmade_fixture = tests/unit/handmade_fixture.c tests/unit/handmade_fixture.h
tests_unit_test_rebuild_task_SOURCES = tests/unit/test_rebuild_task.c $(handmade_fixture)
tests_unit_test_rebuild_task_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_rebuild_turns_SOURCES = tests/unit/test_rebuild_turns.c $(handmade_fixture)
tests_unit_test_rebuild_turns_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_rebuild_numbers_SOURCES = tests/unit/test_rebuild_numbers.c $(handmade_fixture)
tests_unit_test_rebuild_numbers_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_rebuild_objects_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_test_clone_SOURCES = tests/unit/test_clone.c \
	tests/unit/clone_fixture.c tests/unit/clone_fixture.h
tests_unit_test_clone_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
endif
