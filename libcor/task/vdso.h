/* vDSO images: their functions, and how those of another kernel's image are made
 * to jump to the same-named ones of this kernel's.
 *
 * A task keeps pointers into the vDSO it started with, so the old image must
 * stay where it was; but its code reads time data in a layout that only its own
 * kernel provides. An image comes from a peer: everything in it is checked.
 * Layout: the ELF-64 specification, and vdso(7).
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cor_vdso {
	const unsigned char *image;
	size_t   len;
	uint64_t bias;          /* address in the image's own terms of its first byte */
	size_t   symbols;       /* offset of the symbol table, and its length */
	unsigned nsymbols;
	size_t   strings;       /* offset of the string table, and its size */
	size_t   strings_len;
};

/* A function: name, offset from the image's first byte, size in bytes. */
struct cor_vdso_function {
	const char *name;       /* in the image */
	size_t offset;
	size_t size;
};

/* Borrows image. -ENOEXEC: it is no proper image of an x86-64 vDSO. */
int cor_vdso_parse(struct cor_vdso *v, const void *image, size_t len, struct cor_error *err);

/* The i-th symbol, i < nsymbols; false when it is no function defined there. */
bool cor_vdso_function(const struct cor_vdso *v, unsigned i, struct cor_vdso_function *f);

bool cor_vdso_find(const struct cor_vdso *v, const char *name, struct cor_vdso_function *f);

/* Changes old, the writable copy of an image that will lie at old_base, so that
 * each function of it that now has too jumps there; now will lie at now_base.
 * What now lacks is left as it is. The number of functions redirected, or
 * -ENOEXEC, -ENOTSUP (a function too short for a jump). */
int cor_vdso_redirect(void *old, size_t old_len, uint64_t old_base,
		      const void *now, size_t now_len, uint64_t now_base,
		      struct cor_error *err);

/* Whether the byte at offset was changed by cor_vdso_redirect() and is not the first of
 * its function: a thread that is just there cannot go on there. */
bool cor_vdso_in_jump(const struct cor_vdso *old, const struct cor_vdso *now, size_t offset);
