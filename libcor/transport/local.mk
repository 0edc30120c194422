# transport: moves page requests and bytes.
libcor_sources += libcor/transport/preamble.c libcor/transport/preamble.h
libcor_sources += libcor/transport/tcp.c libcor/transport/tcp.h
libcor_sources += libcor/transport/transport.c libcor/transport/transport.h
