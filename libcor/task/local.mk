# task: inject, freeze, capture, rebuild. Knows pages only through paging/pager.h's regions.
libcor_protos += libcor/task/task.proto
libcor_sources += libcor/task/inject.h libcor/task/tracee.h libcor/task/capture.h libcor/task/rebuild.h
libcor_sources += libcor/task/ptrace_wait.c libcor/task/ptrace_wait.h
libcor_sources += libcor/task/inject.c libcor/task/inject_code.S
libcor_sources += libcor/task/hooks.c libcor/task/hooks.h
libcor_sources += libcor/task/channel.c libcor/task/channel.h
libcor_sources += libcor/task/spawn.c libcor/task/spawn.h
libcor_sources += libcor/task/supervisor.c libcor/task/supervisor.h
libcor_sources += libcor/task/stub.c libcor/task/stub.h
libcor_sources += libcor/task/rebuild.c libcor/task/rebuild_private.h
libcor_sources += libcor/task/procfs.h libcor/task/procfs_maps.c libcor/task/procfs_misc.c libcor/task/procfs_status.c
libcor_sources += libcor/task/restart.c libcor/task/restart.h
libcor_sources += libcor/task/tracee.c libcor/task/tracee_state.c libcor/task/tracee_state.h
libcor_sources += libcor/task/layout.c libcor/task/layout.h
libcor_sources += libcor/task/batch.c libcor/task/batch.h
libcor_sources += libcor/task/vdso.c libcor/task/vdso.h
