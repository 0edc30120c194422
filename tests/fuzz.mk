# Fuzz targets (docs/fuzzing.md). make check builds them with replay.c and runs
# their corpora; make fuzz builds them with clang and libFuzzer, elsewhere, and
# runs each FUZZ_SECONDS seconds.
FUZZ_SECONDS = 10
# fuzz.sh puts its own here
FUZZ_MAIN = tests/fuzz/libreplay.la
FUZZ_ENGINE =

check_LTLIBRARIES += tests/fuzz/libreplay.la
tests_fuzz_libreplay_la_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz.h

fuzz_ldflags = $(AM_LDFLAGS) $(FUZZ_ENGINE)
fuzz_libcor = $(FUZZ_MAIN) libcor/libcor-internal.la
fuzz_libcord = $(FUZZ_MAIN) daemon/libcord.la

fuzz_targets =
check_PROGRAMS += $(fuzz_targets)
EXTRA_DIST += tests/fuzz/fuzz.sh tests/fuzz/replay.sh tests/fuzz/seeds.py \
	tests/fuzz/socket.h tests/fuzz/source.h tests/fuzz/corpus tests/fuzz/dictionaries
TESTS += tests/fuzz/replay.sh

# transport
fuzz_targets += tests/fuzz/fuzz_preamble tests/fuzz/fuzz_address
tests_fuzz_fuzz_preamble_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_preamble_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_address_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_address_LDADD = $(fuzz_libcord)

# paging
fuzz_targets += tests/fuzz/fuzz_ticket tests/fuzz/fuzz_page_request \
	tests/fuzz/fuzz_page_lane tests/fuzz/fuzz_fetch
tests_fuzz_fuzz_ticket_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_ticket_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_page_request_LDFLAGS = $(fuzz_ldflags) -Wl,--wrap=sendmsg
tests_fuzz_fuzz_page_request_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_page_lane_LDFLAGS = $(fuzz_ldflags) -Wl,--wrap=sendmsg
tests_fuzz_fuzz_page_lane_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_fetch_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_fetch_LDADD = $(fuzz_libcor)

# task and names: the kernel's texts
fuzz_targets += tests/fuzz/fuzz_procfs_maps tests/fuzz/fuzz_procfs_status \
	tests/fuzz/fuzz_procfs_misc tests/fuzz/fuzz_fdinfo
tests_fuzz_fuzz_procfs_maps_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_procfs_maps_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_procfs_status_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_procfs_status_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_procfs_misc_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_procfs_misc_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_fdinfo_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_fdinfo_LDADD = $(fuzz_libcor)

# daemon
fuzz_targets += tests/fuzz/fuzz_config tests/fuzz/fuzz_request tests/fuzz/fuzz_record
tests_fuzz_fuzz_config_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_config_LDADD = $(fuzz_libcord)
tests_fuzz_fuzz_request_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_request_LDADD = $(fuzz_libcord) $(JANSSON_LIBS)
tests_fuzz_fuzz_record_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_record_LDADD = $(fuzz_libcord) $(JANSSON_LIBS)

# what must be there before fuzz.sh names single targets
fuzz-generated: $(BUILT_SOURCES)

# FUZZ_TARGETS="ticket config": only these; FUZZ_RUNS=N: N executions each
fuzz:
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_RUNS='$(FUZZ_RUNS)' $(SHELL) \
		$(top_srcdir)/tests/fuzz/fuzz.sh $(abs_top_srcdir) $(abs_top_builddir)/fuzz $(FUZZ_TARGETS)

fuzz-seeds:
	python3 $(top_srcdir)/tests/fuzz/seeds.py $(top_srcdir)/tests/fuzz/corpus

.PHONY: fuzz fuzz-generated fuzz-seeds
