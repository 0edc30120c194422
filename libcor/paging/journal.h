/* The journal of a pager: what another one needs in order to go on where this one was
 * killed, at whatever instruction.
 *
 * It lies in a memfd, which somebody else holds too. Its parts:
 *
 *	events     what the userfaultfds said, in the order in which it was read. read(2)
 *	           puts it straight here, so that what the kernel has told once is never
 *	           only in a pager that dies
 *	snapshot   the maps of the address spaces as they were before these events. When
 *	           the events fill their room a new one is made, and both change at once
 *	have       which pages of the task's own address space are dealt with: the very
 *	           bits that the pager works on. (Where they lag behind the kernel it says
 *	           EEXIST, which is then ordinary.)
 *	stats      the figures, as of the last cor_journal_save()
 *
 * journal.c knows bytes; what a snapshot holds is pager_journal.c's. One thread writes.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/userfaultfd.h>

struct cor_journal;
struct cor_paging_stats;

int  cor_journal_new(struct cor_journal **out, struct cor_error *err);
/* One that another process has written. fd is the journal's from here, on failure too.
 * -ENODATA: there is nothing to go on from. */
int  cor_journal_open(struct cor_journal **out, int fd, struct cor_error *err);
/* NULL allowed. */
void cor_journal_free(struct cor_journal *j);
int  cor_journal_fd(const struct cor_journal *j);

/* Room for n messages that are to be read from address space mm; NULL: a snapshot must
 * be made first. */
struct uffd_msg *cor_journal_room(struct cor_journal *j, uint32_t mm, unsigned n);
/* n messages have been read into the room. keep: some of them are events. */
void cor_journal_read(struct cor_journal *j, unsigned n, bool keep);
/* Address space mm is not served any more: to be noted before its descriptor is closed,
 * whose number may then be another's. False: there is no room, a snapshot must do. */
bool cor_journal_closed(struct cor_journal *j, uint32_t mm);

/* Replaces the snapshot, and forgets the events before. */
int  cor_journal_snapshot(struct cor_journal *j, const void *bytes, size_t len);

/* There can be no further snapshot: nobody can go on from here. */
void cor_journal_break(struct cor_journal *j);

/* The snapshot's bytes (malloc, the caller's). */
int  cor_journal_load(struct cor_journal *j, void **bytes, size_t *len);
/* Calls fn for each event since, in order; m NULL: mm was closed. What is read next goes
 * behind them. fn's failure ends it. */
int  cor_journal_replay(struct cor_journal *j,
			int (*fn)(void *arg, uint32_t mm, const struct uffd_msg *m), void *arg);

/* Room for the bits of the pages, n words of it, zero at first; the journal's. */
int  cor_journal_have(struct cor_journal *j, uint64_t words, uint64_t **out);

/* When paging began, CLOCK_MONOTONIC in ns. */
void     cor_journal_begin(struct cor_journal *j, uint64_t started_at);
uint64_t cor_journal_began(const struct cor_journal *j);

/* The figures; any thread, one at a time. */
void cor_journal_save(struct cor_journal *j, const struct cor_paging_stats *stats);
void cor_journal_saved(const struct cor_journal *j, struct cor_paging_stats *out);
