/* A memory source: a part of this process. Read as another process's would be,
 * by system calls: a page without read permission, or unmapped meanwhile by
 * another thread, is then an answer and not a crash. */
#include <unistd.h>

#include "libcor/paging/source.h"

int cor_source_self(struct cor_source **out, const void *addr, size_t len,
		    struct cor_error *err)
{
	struct cor_source *self;
	int r = cor_source_process(&self, getpid(), err);

	if (r < 0)
		return r;
	cor_source_process_whole_files(self);
	return cor_source_window(out, self, (uintptr_t)addr, len, err);
}
