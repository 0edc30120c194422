# daemon: cord. The session code, which runs in worker processes, is listed in
# cord_session_sources; the rest is an archive that the unit tests link too.
cord_session_sources = \
	daemon/control.c daemon/control.h \
	daemon/doors.c daemon/doors.h \
	daemon/fault.c daemon/fault.h \
	daemon/sandbox.c daemon/sandbox.h \
	$(session_sources) $(source_sources) $(destination_sources)

# what both sides of a migration share
session_sources = \
	daemon/session/session.c daemon/session/session.h \
	daemon/session/warm.c \
	daemon/session/clock.c daemon/session/clock.h \
	daemon/session/home.h \
	daemon/session/mechanisms.c daemon/session/mechanisms.h \
	daemon/session/permit.c \
	daemon/session/pumps.c daemon/session/pumps.h daemon/session/pumps_private.h \
	daemon/session/pumps_source.c daemon/session/pumps_destination.c \
	daemon/session/standin.c daemon/session/standin.h \
	daemon/session/transport.c daemon/session/transport.h

source_sources = \
	daemon/source/source.h \
	daemon/source/connect.c daemon/source/cord.c daemon/source/filters.c daemon/source/freeze.c \
	daemon/source/home.c daemon/source/keeper.c daemon/source/link.c \
	daemon/source/look.c daemon/source/mapped.c daemon/source/network.c daemon/source/obituary.c daemon/source/objects.c \
	daemon/source/paging.c daemon/source/reach.c daemon/source/run.c \
	daemon/source/server.c daemon/source/serving.c daemon/source/transport.c \
	daemon/source/undo.c

destination_sources = \
	daemon/destination/destination.h \
	daemon/destination/build.c daemon/destination/figures.c daemon/destination/home.c \
	daemon/destination/huge.c daemon/destination/keeper.c daemon/destination/lanes.c \
	daemon/destination/missing.c daemon/destination/prepare.c \
	daemon/destination/network.c daemon/destination/paging.c daemon/destination/peer.c \
	daemon/destination/rejoin.c daemon/destination/release.c daemon/destination/retake.c \
	daemon/destination/run.c daemon/destination/task.c daemon/destination/transport.c

EXTRA_DIST += daemon/control.proto
BUILT_SOURCES += daemon/control.pb-c.c daemon/control.pb-c.h
CLEANFILES += daemon/control.pb-c.c daemon/control.pb-c.h

noinst_LTLIBRARIES += daemon/libcord.la
daemon_libcord_la_SOURCES = \
	daemon/address.c daemon/address.h \
	daemon/client.c daemon/client.h \
	daemon/clients.c daemon/clients.h \
	daemon/command.c daemon/command.h \
	daemon/config.c daemon/config.h \
	daemon/config_read.c daemon/config_check.c \
	daemon/config_peer.c daemon/config_private.h \
	daemon/control_socket.c daemon/control_socket.h \
	daemon/ids.c daemon/ids.h \
	daemon/keys.c daemon/keys.h \
	daemon/cord.c daemon/cord.h \
	daemon/entry.c daemon/entry.h \
	daemon/listener.c daemon/listener.h \
	daemon/log.c daemon/log.h \
	daemon/loop.c daemon/loop.h \
	daemon/needs.c daemon/needs.h \
	daemon/notify.c daemon/notify.h \
	daemon/options.c daemon/options.h \
	daemon/outcome.c daemon/outcome.h \
	daemon/owner.c daemon/owner.h \
	daemon/privilege.c daemon/privilege.h \
	daemon/programs.c daemon/programs.h \
	daemon/record.c daemon/record.h \
	daemon/registry.c daemon/registry.h \
	daemon/registry_adopt.c \
	daemon/request.c daemon/request.h \
	daemon/spawn.c daemon/spawn.h \
	daemon/state.c daemon/state.h \
	daemon/states.c daemon/states.h \
	daemon/tasks.c daemon/tasks.h \
	daemon/worker.h
daemon_libcord_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(INIH_CFLAGS) $(CAPNG_CFLAGS)
daemon_libcord_la_LIBADD = libcor/libcor-internal.la $(JANSSON_LIBS) $(INIH_LIBS)

sbin_PROGRAMS += cord
cord_SOURCES = daemon/main.c $(cord_session_sources)
nodist_cord_SOURCES = daemon/control.pb-c.c
cord_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(INIH_CFLAGS) $(CAPNG_CFLAGS) $(SECCOMP_CFLAGS)
cord_LDADD = daemon/libcord.la $(CAPNG_LIBS) $(SECCOMP_LIBS)
