# daemon: cord. The session code, which runs in worker processes, is listed in
# cord_session_sources; the rest is an archive that the unit tests link too.
cord_session_sources =

noinst_LTLIBRARIES += daemon/libcord.la
daemon_libcord_la_SOURCES = \
	daemon/address.c daemon/address.h \
	daemon/config.c daemon/config.h \
	daemon/log.c daemon/log.h \
	daemon/worker.h
daemon_libcord_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(INIH_CFLAGS)
daemon_libcord_la_LIBADD = libcor/libcor-internal.la $(JANSSON_LIBS) $(INIH_LIBS)

sbin_PROGRAMS += cord
cord_SOURCES = daemon/main.c daemon/worker_stub.c $(cord_session_sources)
cord_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(INIH_CFLAGS)
cord_LDADD = daemon/libcord.la
