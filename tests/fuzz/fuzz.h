/* What the fuzz targets share. A target is one file fuzz_NAME.c that defines
 * LLVMFuzzerTestOneInput() (LLVM's libFuzzer) for one parser. Linked with
 * libFuzzer it is a fuzzer; linked with replay.c it runs the files that it is
 * given, so that what was found once is tried again by any compiler. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input is; a finding when it does not. */
#define FUZZ_CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* A copy of exactly that size, so that a sanitizer sees every byte read too far. */
static inline void *fuzz_copy(const void *data, size_t size)
{
	void *copy = malloc(size ? size : 1);

	FUZZ_CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	return copy;
}

/* The same with a NUL behind it. */
static inline char *fuzz_text(const void *data, size_t size)
{
	char *text = malloc(size + 1);

	FUZZ_CHECK(text);
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	return text;
}

/* Takes numbers off the front of an input; zeros when it is used up. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

static inline void fuzz_take(struct fuzz_input *in, void *out, size_t len)
{
	size_t n = in->size < len ? in->size : len;

	memset(out, 0, len);
	memcpy(out, in->data, n);
	in->data += n;
	in->size -= n;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}
