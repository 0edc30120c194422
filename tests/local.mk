# tests
include tests/unit/server.mk
include tests/unit/capture.mk
include tests/unit/preload.mk
include tests/unit/rebuild.mk
include tests/unit/pager.mk
include tests/unit/names.mk
