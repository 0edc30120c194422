# base: errors, cleanup, i/o, kernel probe, compat. Knows nothing of cor's own ideas.
libcor_sources += \
	libcor/base/as_user.c libcor/base/as_user.h \
	libcor/base/bytes.h libcor/base/cleanup.h libcor/base/compat.h libcor/base/pagemap_bits.h \
	libcor/base/context.c \
	libcor/base/error.c libcor/base/error.h \
	libcor/base/io.c libcor/base/io.h \
	libcor/base/parallel.c libcor/base/parallel.h \
	libcor/base/probe.c libcor/base/probe.h \
	libcor/base/hist.c libcor/base/hist.h
