/* A buffer of bytes that grows. What cannot be added is remembered, not told each time:
 * look at failed in the end.
 *
 *	_cleanup_bytes_ struct cor_bytes out = { 0 };
 */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct cor_bytes {
	char  *data;
	size_t len, room;
	bool   failed;
};

static inline void cor_bytes_put(struct cor_bytes *b, const void *what, size_t n)
{
	if (b->failed)
		return;
	if (b->room - b->len < n) {
		size_t room = (b->len + n) * 2 + 1024;
		char *more = realloc(b->data, room);

		if (!more) {
			b->failed = true;
			return;
		}
		b->data = more;
		b->room = room;
	}
	memcpy(b->data + b->len, what, n);
	b->len += n;
}

static inline void cor_bytes_done(struct cor_bytes *b)
{
	free(b->data);
}

#define _cleanup_bytes_ __attribute__((cleanup(cor_bytes_done)))
