# task: inject, freeze, capture, rebuild. Knows pages only through paging/pager.h's regions.
libcor_protos += libcor/task/task.proto
libcor_sources += libcor/task/inject.h libcor/task/tracee.h libcor/task/capture.h libcor/task/rebuild.h
