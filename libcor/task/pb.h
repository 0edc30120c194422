/* Building protobuf-c messages by hand: they are freed with
 * ..._free_unpacked(m, NULL), so every part is malloc's. */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

/* Appends item (a message pointer) to a repeated field; frees nothing. */
static inline int pb_append(void *array, size_t *n, void *item)
{
	void ***a = array;

	if ((*n & (*n - 1)) == 0) {             /* full at powers of two */
		void **bigger = realloc(*a, (*n ? *n * 2 : 1) * sizeof(void *));

		if (!bigger)
			return -ENOMEM;
		*a = bigger;
	}
	(*a)[(*n)++] = item;
	return 0;
}

/* A fresh message of the type, initialised and appended; NULL without memory. */
#define pb_add(array, n, type, init) ({ \
	type *m_ = malloc(sizeof(type)); \
	if (m_) { \
		init(m_); \
		if (pb_append((array), (n), m_) < 0) { \
			free(m_); \
			m_ = NULL; \
		} \
	} \
	m_; })

/* A fresh sub-message, or what is there already. */
#define pb_sub(field, type, init) ({ \
	if (!(field)) { \
		(field) = malloc(sizeof(type)); \
		if (field) \
			init(field); \
	} \
	(field); })

static inline int pb_bytes(ProtobufCBinaryData *b, const void *data, size_t len)
{
	uint8_t *copy = len ? malloc(len) : NULL;

	if (len && !copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, data, len);
	free(b->data);
	b->data = copy;
	b->len = len;
	return 0;
}

static inline int pb_text(char **field, const char *text, size_t len)
{
	char *copy = len ? strndup(text, len) : (char *)protobuf_c_empty_string;

	if (!copy)
		return -ENOMEM;
	if (*field != protobuf_c_empty_string)
		free(*field);
	*field = copy;
	return 0;
}

/* Appends len bytes to a repeated bytes field. */
static inline int pb_add_bytes(ProtobufCBinaryData **array, size_t *n, const void *data, size_t len)
{
	ProtobufCBinaryData *bigger = realloc(*array, (*n + 1) * sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	*array = bigger;
	bigger[*n] = (ProtobufCBinaryData){ 0, NULL };
	if (pb_bytes(&bigger[*n], data, len) < 0)
		return -ENOMEM;
	(*n)++;
	return 0;
}
