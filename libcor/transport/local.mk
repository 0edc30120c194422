# transport: moves page requests and bytes.
libcor_sources += libcor/transport/preamble.h
