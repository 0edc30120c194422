# The public headers: opaque types only; each reads like its manual page.
corincludedir = $(includedir)/cor
corinclude_HEADERS = include/cor/cor.h include/cor/error.h include/cor/migrate.h
corinclude_HEADERS += include/cor/export.h
corinclude_HEADERS += include/cor/import.h
