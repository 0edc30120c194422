# paging: export, import, pager, page server. Knows pages, not tasks.
libcor_sources += libcor/paging/wire.h libcor/paging/source.h libcor/paging/server.h libcor/paging/pager.h
libcor_sources += libcor/paging/ticket.c libcor/paging/ticket.h
