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
wrap = -Wl,--wrap=
check_PROGRAMS += $(fuzz_targets)
EXTRA_DIST += tests/fuzz/fuzz.sh tests/fuzz/replay.sh tests/fuzz/seeds.py \
	tests/stream.h tests/fuzz/socket.h tests/fuzz/source.h tests/fuzz/corpus tests/fuzz/dictionaries
TESTS += tests/fuzz/replay.sh

# transport
fuzz_targets += tests/fuzz/fuzz_preamble tests/fuzz/fuzz_address tests/fuzz/fuzz_psk
tests_fuzz_fuzz_psk_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_psk_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_preamble_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_preamble_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_address_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_address_LDADD = $(fuzz_libcord)

# paging
fuzz_targets += tests/fuzz/fuzz_ticket tests/fuzz/fuzz_page_request \
	tests/fuzz/fuzz_page_lane tests/fuzz/fuzz_fetch
tests_fuzz_fuzz_ticket_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_ticket_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_page_request_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_page_request_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_page_lane_LDFLAGS = $(fuzz_ldflags) $(wrap)pthread_create \
	$(wrap)pthread_join $(wrap)pthread_setname_np
tests_fuzz_fuzz_page_lane_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_fetch_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_fetch_LDADD = $(fuzz_libcor)

fuzz_targets += tests/fuzz/fuzz_vma tests/fuzz/fuzz_page_reply
tests_fuzz_fuzz_vma_LDFLAGS = $(fuzz_ldflags) $(wrap)openat
tests_fuzz_fuzz_vma_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_page_reply_LDFLAGS = $(fuzz_ldflags) \
	$(wrap)cor_uffd_copy $(wrap)cor_uffd_zero $(wrap)cor_uffd_poison $(wrap)cor_uffd_wake \
	$(wrap)pager_ring_init $(wrap)pager_poll_lane $(wrap)pager_poll_lane_out $(wrap)pager_unpoll $(wrap)pager_mm_read
tests_fuzz_fuzz_page_reply_LDADD = $(fuzz_libcor)

# files that stay at home
fuzz_targets += tests/fuzz/fuzz_home_request tests/fuzz/fuzz_home_reply tests/fuzz/fuzz_trees
tests_fuzz_fuzz_home_request_LDFLAGS = $(fuzz_ldflags) $(wrap)fallocate
tests_fuzz_fuzz_home_request_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_home_reply_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_home_reply_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_trees_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_trees_LDADD = $(fuzz_libcor)

# task and names: what comes from a peer
fuzz_targets += tests/fuzz/fuzz_sparse tests/fuzz/fuzz_vdso tests/fuzz/fuzz_elf tests/fuzz/fuzz_image \
	tests/fuzz/fuzz_update tests/fuzz/fuzz_files tests/fuzz/fuzz_pump tests/fuzz/fuzz_udp
tests_fuzz_fuzz_udp_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_udp_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_sparse_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_sparse_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_vdso_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_vdso_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_elf_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_elf_LDADD = $(fuzz_libcor)
fuzz_batch = tests/fuzz/batch.c tests/fuzz/batch.h
fuzz_batch_ldflags = $(wrap)cor_batch_add $(wrap)cor_batch_data $(wrap)cor_batch_reserve \
	$(wrap)cor_batch_flush $(wrap)cor_batch_call $(wrap)cor_runner_range
tests_fuzz_fuzz_image_SOURCES = tests/fuzz/fuzz_image.c $(fuzz_batch)
tests_fuzz_fuzz_image_LDFLAGS = $(fuzz_ldflags) $(fuzz_batch_ldflags)
tests_fuzz_fuzz_image_LDADD = $(fuzz_libcor) $(PROTOBUF_C_LIBS)
tests_fuzz_fuzz_update_SOURCES = tests/fuzz/fuzz_update.c $(fuzz_batch)
tests_fuzz_fuzz_update_LDFLAGS = $(fuzz_ldflags) $(fuzz_batch_ldflags) $(wrap)open $(wrap)pwrite
tests_fuzz_fuzz_update_LDADD = $(fuzz_libcor) $(PROTOBUF_C_LIBS)
tests_fuzz_fuzz_files_LDFLAGS = $(fuzz_ldflags) \
	$(wrap)open $(wrap)openat $(wrap)unlink $(wrap)rename $(wrap)chmod $(wrap)lchown \
	$(wrap)access $(wrap)lstat $(wrap)connect $(wrap)inotify_add_watch $(wrap)bind \
	$(wrap)listen $(wrap)socket $(wrap)fcntl
tests_fuzz_fuzz_files_LDADD = $(fuzz_libcor) $(PROTOBUF_C_LIBS)

tests_fuzz_fuzz_pump_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_pump_LDADD = $(fuzz_libcor) $(PROTOBUF_C_LIBS)

# task and names: the kernel's texts
fuzz_targets += tests/fuzz/fuzz_procfs_maps tests/fuzz/fuzz_procfs_status \
	tests/fuzz/fuzz_procfs_misc tests/fuzz/fuzz_fdinfo
tests_fuzz_fuzz_procfs_maps_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_procfs_maps_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_procfs_status_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_procfs_status_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_procfs_misc_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_procfs_misc_LDADD = $(fuzz_libcor)
tests_fuzz_fuzz_fdinfo_LDFLAGS = $(fuzz_ldflags) $(wrap)cor_slurp $(wrap)open \
	$(wrap)open_by_handle_at
tests_fuzz_fuzz_fdinfo_LDADD = $(fuzz_libcor)

# daemon
fuzz_targets += tests/fuzz/fuzz_config tests/fuzz/fuzz_request tests/fuzz/fuzz_record
tests_fuzz_fuzz_config_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_config_LDADD = $(fuzz_libcord)
tests_fuzz_fuzz_request_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_request_LDADD = $(fuzz_libcord) $(JANSSON_LIBS)
tests_fuzz_fuzz_record_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_record_LDADD = $(fuzz_libcord) $(JANSSON_LIBS)

fuzz_targets += tests/fuzz/fuzz_control
tests_fuzz_fuzz_control_SOURCES = tests/fuzz/fuzz_control.c daemon/control.c daemon/control.h
nodist_tests_fuzz_fuzz_control_SOURCES = daemon/control.pb-c.c
tests_fuzz_fuzz_control_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_control_LDADD = $(fuzz_libcor) $(PROTOBUF_C_LIBS)

# what must be there before fuzz.sh names single targets
fuzz-generated: $(BUILT_SOURCES)

# FUZZ_TARGETS="ticket config": only these; FUZZ_RUNS=N: N executions each
fuzz:
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_RUNS='$(FUZZ_RUNS)' $(SHELL) \
		$(top_srcdir)/tests/fuzz/fuzz.sh $(abs_top_srcdir) $(abs_top_builddir)/fuzz $(FUZZ_TARGETS)

check_PROGRAMS += tests/fuzz/capture_seeds
tests_fuzz_capture_seeds_LDADD = libcor/libcor-internal.la $(PROTOBUF_C_LIBS)

fuzz-seeds: tests/fuzz/capture_seeds tests/programs/files tests/programs/timers
	python3 $(top_srcdir)/tests/fuzz/seeds.py $(top_srcdir)/tests/fuzz/corpus .

.PHONY: fuzz fuzz-generated fuzz-seeds
