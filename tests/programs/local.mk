# The workloads that the system tests and ./demo move: see check.h. Built without
# sanitizers, whose shadow memory is not what these tests are about.
lab_programs = \
	tests/programs/threads tests/programs/registers tests/programs/tls \
	tests/programs/robust tests/programs/syscalls tests/programs/memory \
	tests/programs/signals tests/programs/timers tests/programs/clock \
	tests/programs/files tests/programs/identity tests/programs/churn \
	tests/programs/pattern tests/programs/plain tests/programs/refuse tests/programs/stream \
	tests/programs/outside tests/programs/clients tests/programs/tcp tests/programs/udp \
	tests/programs/hugetlb tests/programs/descriptors tests/programs/closed tests/programs/filters \
	tests/programs/ready tests/programs/sleepers
check_PROGRAMS += $(lab_programs)

lab-programs: $(lab_programs)
.PHONY: lab-programs

lab_cflags = -std=gnu17 -O2 -g $(WARN_FLAGS)
lab_common = tests/programs/check.c tests/programs/check.h
visit_common = tests/programs/visit.c tests/programs/visit.h $(lab_common)

tests_programs_sleepers_SOURCES = tests/programs/sleepers.c $(lab_common)
tests_programs_sleepers_CFLAGS = $(lab_cflags)
tests_programs_sleepers_LDFLAGS = -pthread
tests_programs_ready_SOURCES = tests/programs/ready.c $(lab_peer) $(lab_common)
tests_programs_ready_CFLAGS = $(lab_cflags)
tests_programs_udp_SOURCES = tests/programs/udp.c $(visit_common)
tests_programs_udp_CFLAGS = $(lab_cflags)
tests_programs_closed_SOURCES = tests/programs/closed.c $(lab_common)
tests_programs_closed_CFLAGS = $(lab_cflags)
tests_programs_descriptors_SOURCES = tests/programs/descriptors.c $(lab_common)
tests_programs_descriptors_CFLAGS = $(lab_cflags)
tests_programs_descriptors_LDFLAGS = -pthread
tests_programs_filters_SOURCES = tests/programs/filters.c $(lab_common)
tests_programs_filters_CFLAGS = $(lab_cflags)
tests_programs_filters_LDFLAGS = -pthread
tests_programs_hugetlb_SOURCES = tests/programs/hugetlb.c $(lab_common)
tests_programs_hugetlb_CFLAGS = $(lab_cflags)
tests_programs_threads_SOURCES = tests/programs/threads.c $(lab_common)
tests_programs_threads_CFLAGS = $(lab_cflags)
tests_programs_threads_LDFLAGS = -pthread
tests_programs_registers_SOURCES = tests/programs/registers.c $(lab_common)
tests_programs_registers_CFLAGS = $(lab_cflags)
tests_programs_registers_LDFLAGS = -pthread
tests_programs_tls_SOURCES = tests/programs/tls.c $(lab_common)
tests_programs_tls_CFLAGS = $(lab_cflags)
tests_programs_tls_LDFLAGS = -pthread
tests_programs_robust_SOURCES = tests/programs/robust.c $(lab_common)
tests_programs_robust_CFLAGS = $(lab_cflags)
tests_programs_robust_LDFLAGS = -pthread
tests_programs_syscalls_SOURCES = tests/programs/syscalls.c $(lab_common)
tests_programs_syscalls_CFLAGS = $(lab_cflags)
tests_programs_syscalls_LDFLAGS = -pthread
tests_programs_memory_SOURCES = tests/programs/memory.c $(lab_common)
tests_programs_memory_CFLAGS = $(lab_cflags)
tests_programs_memory_LDFLAGS = -pthread
tests_programs_signals_SOURCES = tests/programs/signals.c $(lab_common)
tests_programs_signals_CFLAGS = $(lab_cflags)
tests_programs_signals_LDFLAGS = -pthread
tests_programs_timers_SOURCES = tests/programs/timers.c $(lab_common)
tests_programs_timers_CFLAGS = $(lab_cflags)
tests_programs_timers_LDFLAGS = -pthread
tests_programs_clock_SOURCES = tests/programs/clock.c $(lab_common)
tests_programs_clock_CFLAGS = $(lab_cflags)
tests_programs_clock_LDFLAGS = -pthread
tests_programs_files_SOURCES = tests/programs/files.c tests/programs/files_content.c tests/programs/files.h $(lab_common)
tests_programs_files_CFLAGS = $(lab_cflags)
tests_programs_files_LDFLAGS = -pthread
tests_programs_identity_SOURCES = tests/programs/identity.c $(lab_common)
tests_programs_identity_CFLAGS = $(lab_cflags)
tests_programs_identity_LDFLAGS = -pthread
tests_programs_churn_SOURCES = tests/programs/churn.c $(lab_common)
tests_programs_churn_CFLAGS = $(lab_cflags)
tests_programs_churn_LDFLAGS = -pthread
tests_programs_pattern_SOURCES = tests/programs/pattern.c $(lab_common)
tests_programs_pattern_CFLAGS = $(lab_cflags)
tests_programs_pattern_LDFLAGS = -pthread
tests_programs_plain_SOURCES = tests/programs/plain.c $(lab_common)
tests_programs_plain_CFLAGS = $(lab_cflags)
tests_programs_plain_LDFLAGS = -all-static
tests_programs_clients_SOURCES = tests/programs/clients.c $(lab_common)
tests_programs_clients_CFLAGS = $(lab_cflags)
tests_programs_tcp_SOURCES = tests/programs/tcp.c $(visit_common)
tests_programs_tcp_CFLAGS = $(lab_cflags)
lab_peer = tests/programs/peer.c tests/programs/peer.h

tests_programs_refuse_SOURCES = tests/programs/refuse.c $(lab_peer) $(lab_common)
tests_programs_refuse_CFLAGS = $(lab_cflags)
tests_programs_refuse_LDFLAGS = -pthread
tests_programs_stream_SOURCES = tests/programs/stream.c $(lab_common)
tests_programs_stream_CFLAGS = $(lab_cflags)
tests_programs_outside_SOURCES = tests/programs/outside.c $(lab_peer) $(lab_common)
tests_programs_outside_CFLAGS = $(lab_cflags)
