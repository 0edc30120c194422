# tests
include tests/unit/server.mk
