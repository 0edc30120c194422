# libcor-preload.so against a fake daemon
if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_preload tests/unit/preload_victim
TESTS += tests/unit/test_preload
tests_unit_test_preload_SOURCES = tests/unit/test_preload.c
tests_unit_test_preload_CPPFLAGS = $(AM_CPPFLAGS) -DBUILD_DIR='"$(abs_top_builddir)"'
tests_unit_test_preload_LDADD = libcor/libcor-internal.la $(CMOCKA_LIBS)
tests_unit_preload_victim_SOURCES = tests/unit/preload_victim.c
# no sanitizer: the library is preloaded in front of it
tests_unit_preload_victim_CFLAGS = -std=gnu17 $(WARN_FLAGS)
tests_unit_preload_victim_LDFLAGS =
endif
