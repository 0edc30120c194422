# daemon: cord. The session code, which runs in worker processes, is listed in
# cord_session_sources; the rest is an archive that the unit tests link too.
cord_session_sources = \
	daemon/control.c daemon/control.h \
	daemon/doors.c daemon/doors.h \
	daemon/fault.c daemon/fault.h \
	daemon/sandbox.c daemon/sandbox.h \
	daemon/session.c daemon/session.h \
	daemon/session_clock.c daemon/session_clock.h \
	daemon/session_mechanisms.c daemon/session_mechanisms.h \
	daemon/session_permit.c \
	daemon/session_pumps.c daemon/session_pumps.h daemon/session_pumps_private.h \
	daemon/session_standin.c daemon/session_standin.h \
	daemon/session_pumps_source.c daemon/session_pumps_destination.c \
	daemon/session_destination.c daemon/session_destination.h \
	daemon/session_destination_keeper.c \
	daemon/session_destination_missing.c \
	daemon/session_destination_paging.c \
	daemon/session_destination_peer.c \
	daemon/session_destination_retake.c \
	daemon/session_destination_huge.c \
	daemon/session_destination_network.c \
	daemon/session_destination_task.c \
	daemon/session_destination_transport.c \
	daemon/session_source.c daemon/session_source.h \
	daemon/session_source_home.c daemon/session_home.h \
	daemon/session_destination_build.c \
	daemon/session_destination_home.c \
	daemon/session_source_keeper.c \
	daemon/session_source_obituary.c \
	daemon/session_source_network.c \
	daemon/session_source_objects.c \
	daemon/session_source_paging.c \
	daemon/session_source_reach.c \
	daemon/session_source_server.c \
	daemon/session_source_transport.c \
	daemon/session_transport.c daemon/session_transport.h

EXTRA_DIST += daemon/control.proto
BUILT_SOURCES += daemon/control.pb-c.c daemon/control.pb-c.h
CLEANFILES += daemon/control.pb-c.c daemon/control.pb-c.h

noinst_LTLIBRARIES += daemon/libcord.la
daemon_libcord_la_SOURCES = \
	daemon/address.c daemon/address.h \
	daemon/client.c daemon/client.h \
	daemon/command.c daemon/command.h \
	daemon/config.c daemon/config.h \
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
