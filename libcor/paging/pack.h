/* Pages compressed (LZ4) where the link is slower than the processor. Two sides have to see
 * that, each for itself:
 *
 *	the pager waits for bulk pages most of its time: it permits (COR_PAGE_MAY_PACK);
 *	the server waits most of its time, for requests or in a send, and compresses then if
 *	that takes less time than it saves. It looks from time to time how it would be the
 *	other way.
 *
 * Where both wait, only the link can be slow. So nothing is compressed where the network is
 * fast, or where it is one of the hosts that takes the time. What does not become an eighth
 * smaller is sent as it is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The server's side, for one lane: a buffer, and what was measured. */
struct cor_packer;

/* raw: bytes at most between two calls of cor_packer_begin. NULL: out of memory. */
struct cor_packer *cor_packer_new(size_t raw);
/* NULL allowed. */
void cor_packer_free(struct cor_packer *p);

/* Before what is sent at once, at the time now_ns: its buffer is free again. Is it to be
 * packed? */
bool cor_packer_begin(struct cor_packer *p, uint64_t now_ns);

/* Packs len bytes: how many there are of it now, at *out (the packer's, until it begins
 * again). 0: it does not pay. */
size_t cor_pack(struct cor_packer *p, const void *data, size_t len, const void **out);

/* What was begun has been sent, in so many bytes. cpu_ns: processor time that the calling
 * thread has had so far (CLOCK_THREAD_CPUTIME_ID in clock_gettime(2)). */
void cor_packer_sent(struct cor_packer *p, size_t bytes, uint64_t now_ns, uint64_t cpu_ns);

/* The pager's side: n bytes become len, exactly. false: they do not. */
bool cor_unpack(const void *packed, size_t n, void *out, size_t len);
