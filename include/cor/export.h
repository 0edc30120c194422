/* cor/export.h - memory made readable elsewhere, page by page, under a ticket.
 *
 * An export listens on an address and answers whoever presents its ticket. A
 * ticket is one printable string; who has it can read the exported range and
 * nothing else, until the export is closed or has expired. The import
 * (cor/import.h) maps it there copy-on-reference.
 *
 *	struct cor_export *e;
 *
 *	if (cor_export_memory(&e, table, size, NULL, &err) < 0)
 *		...
 *	puts(cor_export_ticket(e));
 *	...
 *	cor_export_close(e);
 *
 * Pages are read when they are asked for. An exporter that goes on writing is
 * seen half-way; who wants a consistent picture writes no more, or makes the
 * pages read-only first. Beyond the loopback address connections are encrypted by
 * TLS 1.3, and the ticket's secret proves who has it without being sent. The ticket
 * itself you give away: do that where nobody listens.
 *
 * Memory that is itself lazy (imported and not complete yet) must not be
 * exported: the pages that are missing there would be missing here.
 */
#ifndef COR_EXPORT_H
#define COR_EXPORT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cor/cor.h>
#include <cor/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cor_export;

enum cor_export_flags {
	/* Without either: encrypted unless listening on loopback addresses only. */
	COR_EXPORT_ENCRYPT = 1 << 0,     /* always */
	COR_EXPORT_CLEAR   = 1 << 1,     /* never: whoever sees the packets sees the memory, and
					    the ticket's secret too */
};

/* All zero (or NULL in place of the structure): the defaults. */
struct cor_export_options {
	const char *listen;      /* "ADDR:PORT", "[IPv6]:PORT"; NULL: "127.0.0.1:0", a free port */
	const char *advertise;   /* the host that the ticket names; NULL: that of listen, which
				    then must not be "any address" */
	unsigned    expire_s;    /* seconds after which the ticket admits no new connection
				    (those made before go on); 0: never */
	unsigned    flags;       /* enum cor_export_flags */
	uint32_t    reserved[7]; /* zero */
};

struct cor_export_stats {
	uint64_t requests;       /* answered */
	uint64_t pages_sent;     /* with data */
	uint64_t pages_zero;     /* told to be zero, at the cost of a header */
	uint64_t bytes_sent;     /* headers included */
	uint64_t refused;        /* connections turned away: wrong ticket, expired, no cor */
	unsigned connections;    /* open now */
	unsigned reserved;
};

/* Exports len bytes at addr of this process, both multiples of COR_PAGE_SIZE. What
 * is unmapped meanwhile is told to readers as gone; what is protected, PROT_NONE
 * too, is read all the same. The caller ends *out with cor_export_close().
 * -EINVAL (alignment, address text), -ENXIO (the name does not resolve), -EADDRINUSE,
 * -EACCES and others of bind(2), -ENOMEM. */
COR_PUBLIC int cor_export_memory(struct cor_export **out, const void *addr, size_t len,
				 const struct cor_export_options *options, struct cor_error *err);

/* The same of process pid, which goes on or is stopped. Needs ptrace access to
 * it (ptrace(2), PTRACE_MODE_ATTACH): -EACCES; -ESRCH: there is none. */
COR_PUBLIC int cor_export_process(struct cor_export **out, pid_t pid, uint64_t addr, size_t len,
				  const struct cor_export_options *options, struct cor_error *err);

/* Exports len bytes from byte off of the file fd, which stays the caller's and
 * must be readable; any alignment, the last page is filled up with zeros. */
COR_PUBLIC int cor_export_file(struct cor_export **out, int fd, off_t off, size_t len,
			       const struct cor_export_options *options, struct cor_error *err);

/* The ticket; valid until cor_export_close() or cor_export_revoke(). Never NULL. Keep it
 * secret. */
COR_PUBLIC const char *cor_export_ticket(const struct cor_export *e);

/* Revokes the ticket: it is worth nothing any more, and the connections that it made end
 * (who imports waits for missing pages then, and in the end must be closed). The memory
 * stays exported, under a new ticket, which expires as the first did. By one thread, that
 * of cor_export_ticket(). -errno: no random bytes; the old ticket is then good still. */
COR_PUBLIC int cor_export_revoke(struct cor_export *e, struct cor_error *err);

/* What has happened so far. Any thread. */
COR_PUBLIC void cor_export_stats(struct cor_export *e, struct cor_export_stats *out);

/* Ends the export: the ticket is worth nothing any more, connections are closed.
 * Returns when nothing reads the memory any more. NULL is allowed. */
COR_PUBLIC void cor_export_close(struct cor_export *e);

#ifdef __cplusplus
}
#endif
#endif
