# libcor-preload.so: loaded into tasks by `cor run`; nothing but libc, and no
# sanitizer, since it lives in other people's programs.
pkglib_LTLIBRARIES += preload/libcor-preload.la
preload_libcor_preload_la_SOURCES = preload/preload.h preload/register.c preload/hooks.c
preload_libcor_preload_la_CFLAGS = -std=gnu17 -fvisibility=hidden $(WARN_FLAGS)
preload_libcor_preload_la_LDFLAGS = -module -avoid-version -shared -rpath $(pkglibdir)
