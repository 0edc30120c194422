# tools: cor, one file per subcommand.
bin_PROGRAMS += cor
cor_SOURCES = \
	tools/cor.c tools/cor.h \
	tools/cor_cancel.c tools/cor_check.c tools/cor_migrate.c tools/cor_resolve.c \
	tools/cor_run.c tools/cor_settle.c \
	tools/cor_status.c \
	tools/client.c tools/client.h tools/one.c tools/one.h \
	tools/output.c tools/output.h \
	tools/progress.c tools/progress.h
cor_CPPFLAGS = $(AM_CPPFLAGS) -DPKGLIBDIR='"$(pkglibdir)"'
cor_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
cor_LDADD = libcor/libcor-internal.la $(JANSSON_LIBS)
