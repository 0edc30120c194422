# unit tests of libcor/task: inject, tracee, capture
if HAVE_CMOCKA
capture_tests = test_inject test_procfs test_restart test_tracee test_ghost test_capture test_capture_timers test_refuse test_uts test_sparse test_seccomp test_sleepers
check_PROGRAMS += $(capture_tests)
TESTS += $(capture_tests)
task_test_libs = libcor/libcor-internal.la $(CMOCKA_LIBS)
victim_sources = tests/unit/victim.c tests/unit/victim.h

test_inject_SOURCES = tests/unit/test_inject.c $(victim_sources)
test_inject_LDADD = $(task_test_libs)
test_procfs_SOURCES = tests/unit/test_procfs.c
test_procfs_LDADD = $(task_test_libs)
test_restart_SOURCES = tests/unit/test_restart.c
test_restart_LDADD = $(task_test_libs)
test_tracee_SOURCES = tests/unit/test_tracee.c $(victim_sources)
test_tracee_LDADD = $(task_test_libs)
test_ghost_SOURCES = tests/unit/test_ghost.c $(victim_sources)
test_ghost_LDADD = $(task_test_libs)
test_capture_timers_SOURCES = tests/unit/test_capture_timers.c $(victim_sources)
test_capture_timers_LDADD = $(task_test_libs)
test_capture_SOURCES = tests/unit/test_capture.c $(victim_sources)
test_capture_LDADD = $(task_test_libs)
test_refuse_SOURCES = tests/unit/test_refuse.c $(victim_sources)
test_refuse_LDADD = $(task_test_libs)
test_seccomp_SOURCES = tests/unit/test_seccomp.c $(victim_sources)
test_seccomp_LDADD = $(task_test_libs)
test_sleepers_SOURCES = tests/unit/test_sleepers.c $(victim_sources)
test_sleepers_LDADD = $(task_test_libs)
test_sparse_SOURCES = tests/unit/test_sparse.c
test_sparse_LDADD = $(task_test_libs)
test_uts_SOURCES = tests/unit/test_uts.c
test_uts_LDADD = $(task_test_libs)
endif
