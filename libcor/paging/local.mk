# paging: export, import, pager, page server. Knows pages, not tasks.
libcor_sources += libcor/paging/wire.h libcor/paging/source.h libcor/paging/server.h libcor/paging/pager.h
libcor_sources += libcor/paging/ticket.c libcor/paging/ticket.h
libcor_sources += libcor/paging/vma.c libcor/paging/vma.h
libcor_sources += libcor/paging/pagemap.c libcor/paging/pagemap.h
libcor_sources += libcor/paging/fdpages.c libcor/paging/fdpages.h
libcor_sources += libcor/paging/source_process.c
libcor_sources += libcor/paging/source_window.c
libcor_sources += libcor/paging/source_self.c
libcor_sources += libcor/paging/source_file.c
libcor_sources += libcor/paging/bits.h
libcor_sources += libcor/paging/track.c libcor/paging/track.h
libcor_sources += libcor/paging/space.c libcor/paging/space.h
libcor_sources += libcor/paging/uffd.c libcor/paging/uffd.h
