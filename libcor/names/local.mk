# names: what a task's names mean elsewhere: descriptors, pipes, sockets.
libcor_protos += libcor/names/files.proto
libcor_sources += libcor/names/files.h
