# task: inject, freeze, capture, rebuild. Knows pages only through paging/pager.h's regions.
libcor_protos += libcor/task/task.proto
libcor_sources += libcor/task/inject.h libcor/task/tracee.h libcor/task/capture.h libcor/task/rebuild.h
libcor_sources += libcor/task/ptrace_wait.c libcor/task/ptrace_wait.h
libcor_sources += libcor/task/signals.c libcor/task/signals.h
libcor_sources += libcor/task/inject.c libcor/task/inject_code.S
libcor_sources += libcor/task/hooks.c libcor/task/hooks.h
libcor_sources += libcor/task/channel.c libcor/task/channel.h
libcor_sources += libcor/task/spawn.c libcor/task/spawn.h
libcor_sources += libcor/task/supervisor.c libcor/task/supervisor.h
libcor_sources += libcor/task/stub.c libcor/task/stub.h
libcor_sources += libcor/task/rebuild.c libcor/task/rebuild_private.h
libcor_sources += libcor/task/procfs.h libcor/task/procfs_maps.c libcor/task/procfs_misc.c libcor/task/procfs_status.c
libcor_sources += libcor/task/restart.c libcor/task/restart.h
libcor_sources += libcor/task/waits.c libcor/task/waits.h
libcor_sources += libcor/task/tracee.c libcor/task/tracee_state.c libcor/task/tracee_state.h
libcor_sources += libcor/task/tracee_visit.c libcor/task/asleep.c libcor/task/asleep.h
libcor_sources += libcor/task/sleepers.c libcor/task/sleepers.h libcor/task/sleepers_look.c
libcor_sources += libcor/task/capture_sleepers.c libcor/task/capture_scheduling.c
libcor_sources += libcor/task/layout.c libcor/task/layout.h
libcor_sources += libcor/task/batch.c libcor/task/batch.h
libcor_sources += libcor/task/vdso.c libcor/task/vdso.h
libcor_sources += libcor/task/rebuild_stub.c libcor/task/rebuild_vdso.c
libcor_sources += libcor/task/rebuild_map.c libcor/task/rebuild_memory.c
libcor_sources += libcor/task/rebuild_files.c
libcor_sources += libcor/task/rebuild_clone.c libcor/task/rebuild_creds.c libcor/task/rebuild_creds.h
libcor_sources += libcor/task/rebuild_timers.c libcor/task/rebuild_process.c
libcor_sources += libcor/task/rebuild_restart.c libcor/task/rebuild_threads.c
libcor_sources += libcor/task/rebuild_asleep.c libcor/task/rebuild_turns.c
libcor_sources += libcor/task/capture_image.c libcor/task/capture_base.c libcor/task/capture_base.h libcor/task/pb.h
libcor_sources += libcor/task/sparse.c libcor/task/sparse.h libcor/task/capture_calls.c libcor/task/capture_eager.c libcor/task/capture_identity.c
libcor_sources += libcor/task/capture_memory.c libcor/task/capture_objects.c libcor/task/capture_pages.c
libcor_sources += libcor/task/capture_threads.c libcor/task/capture_timers.c libcor/task/capture_written.c
libcor_sources += libcor/task/admissible.c libcor/task/build_id.c libcor/task/build_id.h libcor/task/cpu.c libcor/task/refuse.c
libcor_sources += libcor/task/refuse_shared.c libcor/task/uts.c libcor/task/uts.h
libcor_sources += libcor/task/rebuild_update.c
libcor_sources += libcor/task/complete.c
libcor_sources += libcor/task/ghost.c libcor/task/ghost.h
libcor_sources += libcor/task/mapped.c libcor/task/mapped.h
libcor_sources += libcor/task/label.c libcor/task/label.h
libcor_sources += libcor/task/seccomp.c libcor/task/seccomp.h libcor/task/rebuild_seccomp.c

# the stand-in's program, which becomes data of the library
libcor_sources += libcor/task/standin.c libcor/task/standin.h libcor/task/standin_blob.S
EXTRA_DIST += libcor/task/standin_program.c
CLEANFILES += libcor/task/standin-program
libcor/task/standin-program: $(srcdir)/libcor/task/standin_program.c $(srcdir)/libcor/task/standin.h
	$(AM_V_GEN)$(MKDIR_P) libcor/task && $(CC) -std=gnu17 -Os -Wall -Wextra -I$(srcdir) -ffreestanding \
		-fno-builtin -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pic -fno-pie \
		-fcf-protection=none -mno-sse -fno-sanitize=all -nostdlib -static -no-pie \
		-Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,noexecstack -s -o $@ \
		$(srcdir)/libcor/task/standin_program.c
libcor/task/standin_blob.lo: libcor/task/standin-program
