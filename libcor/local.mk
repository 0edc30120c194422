# libcor: all layers in one internal archive (daemon, tools and tests link it),
# and the shared library that shows only the public symbols of libcor.map.

%.pb-c.c %.pb-c.h: %.proto
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	$(PROTOC_C) --proto_path=$(top_srcdir) --c_out=$(top_builddir) $<

libcor_generated = $(libcor_protos:.proto=.pb-c.c)
libcor_generated_h = $(libcor_protos:.proto=.pb-c.h)
BUILT_SOURCES += $(libcor_generated) $(libcor_generated_h)
CLEANFILES += $(libcor_generated) $(libcor_generated_h)
EXTRA_DIST += $(libcor_protos) libcor/libcor.map

noinst_LTLIBRARIES += libcor/libcor-internal.la
libcor_libcor_internal_la_SOURCES = $(libcor_sources)
nodist_libcor_libcor_internal_la_SOURCES = $(libcor_generated)
libcor_libcor_internal_la_LIBADD = \
	$(URING_LIBS) $(PROTOBUF_C_LIBS) $(XXHASH_LIBS) $(LZ4_LIBS) $(CAPNG_LIBS) $(FUSE3_LIBS) $(GNUTLS_LIBS) -lpthread

lib_LTLIBRARIES += libcor/libcor.la
libcor_libcor_la_SOURCES =
libcor_libcor_la_LIBADD = libcor/libcor-internal.la
libcor_libcor_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-Wl,--version-script=$(top_srcdir)/libcor/libcor.map
libcor_libcor_la_DEPENDENCIES = libcor/libcor-internal.la libcor/libcor.map

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = libcor/libcor.pc
