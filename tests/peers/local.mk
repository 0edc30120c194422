# Peers that do not keep to the protocol, for system tests.
lab_peers = tests/peers/stranger tests/peers/meddler
check_PROGRAMS += $(lab_peers)
lab-programs: $(lab_peers)

tests_peers_stranger_SOURCES = tests/peers/stranger.c
tests_peers_stranger_LDADD = libcor/libcor-internal.la
tests_peers_meddler_SOURCES = tests/peers/meddler.c daemon/control.c daemon/control.h
nodist_tests_peers_meddler_SOURCES = daemon/control.pb-c.c
tests_peers_meddler_LDADD = libcor/libcor-internal.la
