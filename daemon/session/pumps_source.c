/* The source's pumps: those that came along with the task let go when it leaves; one of
 * its own stays for what leads outside here. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "daemon/session/pumps_private.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/inject.h"

#define END_TIMEOUT_MS 2000

static void refresh(void *arg);

static void point_to_links(struct source_pumps *p)
{
	for (unsigned i = 0; i < p->naway; i++)
		p->links[i] = p->away[i].link;
	p->seen = (struct cor_files_pumps){ .links = p->links, .nlinks = p->naway,
					    .fresh = &p->fresh, .expected = p->expected,
					    .refresh = refresh, .arg = p };
}

static int ask_link(struct source_pumps *p, unsigned i, enum cor_pump_request what,
		    struct cor_error *err)
{
	Cor__Names__PumpLink *link;
	int r = cor_pump_ask(p->away[i].sock, what, NULL, NULL, 0, &link, NULL, NULL, err);

	if (r == -EPIPE)
		p->ended = true;
	if (r < 0)
		return r;
	cor__names__pump_link__free_unpacked(p->away[i].link, NULL);
	p->away[i].link = link;
	return 0;
}

static void refresh(void *arg)
{
	struct source_pumps *p = arg;

	for (unsigned i = 0; !p->frozen && i < p->naway; i++)
		ask_link(p, i, COR_PUMP_DESCRIBE, NULL);
	point_to_links(p);
}

int source_pumps_begin(struct source_pumps *p, const struct cord_config *config, pid_t pid,
		       unsigned flags, struct cor_error *err)
{
	int r;

	p->config = config;
	p->home = -1;
	p->expected = flags & SOURCE_PUMPS_EXPECTED;
	cord_config_pumps(config, p->dir, sizeof(p->dir));
	r = cor_pumps_of_task(p->dir, pid, &p->away, &p->naway, err);
	if (r == 0)
		r = cor_secret_make(p->id, sizeof(p->id), err);
	if (r == 0)
		r = cor_secret_make(p->secret, sizeof(p->secret), err);
	if (r < 0)
		return r;
	p->links = calloc(p->naway + 1, sizeof(*p->links));
	if (!p->links)
		return cor_fail(err, -ENOMEM, "out of memory");
	cor__names__pump_link__init(&p->fresh);
	p->fresh.id = (ProtobufCBinaryData){ sizeof(p->id), p->id };
	p->fresh.secret = (ProtobufCBinaryData){ sizeof(p->secret), p->secret };
	p->fresh.host = (char *)config->name;
	cor__names__pump_channel__init(&p->task);
	p->task.kind = COR__NAMES__PUMP_KIND__PUMP_TASK;
	p->task.what = (char *)"the task";
	p->task.identity = (uint64_t)pid;
	p->fresh.task = flags & SOURCE_PUMPS_STANDIN ? &p->task : NULL;
	point_to_links(p);
	return 0;
}

/* The fresh link in a table; NULL: it has none. */
static const Cor__Names__PumpLink *fresh_of(const struct source_pumps *p,
					    const Cor__Names__FileTable *table)
{
	return table->n_links > p->naway ? table->links[p->naway] : NULL;
}

int source_pumps_prepare(struct source_pumps *p, const Cor__Names__FileTable *table,
			 struct cor_error *err)
{
	if (!fresh_of(p, table))
		return 0;
	p->expected = true;
	point_to_links(p);
	p->home = session_pump_start(p->config, COR_PUMP_HOME, &p->fresh, err);
	/* it answers once it can be found */
	return p->home < 0 ? p->home :
	       cor_pump_ask(p->home, COR_PUMP_DESCRIBE, NULL, NULL, 0, NULL, NULL, NULL, err);
}

int source_pumps_freeze(struct source_pumps *p, struct cor_error *err)
{
	p->frozen = true;
	for (unsigned i = 0; i < p->naway; i++) {
		int r = ask_link(p, i, COR_PUMP_FREEZE, err);

		if (r < 0)
			return r;
	}
	point_to_links(p);
	return 0;
}

void source_pumps_thaw(struct source_pumps *p)
{
	for (unsigned i = 0; p->frozen && i < p->naway; i++)
		cor_pump_tell(p->away[i].sock, COR_PUMP_THAW, 0, NULL, 0, -1);
	p->frozen = false;
}

/* A descriptor of the task that leads to channel ch of link. -1: none. */
static int number_of(const Cor__Names__FileTable *table, unsigned link,
		     const Cor__Names__PumpChannel *ch)
{
	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__OpenFile *f = table->files[table->descriptors[i]->file];

		if (f->kind == COR__NAMES__FILE_KIND__PUMPED && f->pump_link == link &&
		    f->pump_channel == ch->id)
			return table->descriptors[i]->fd;
	}
	return -1;
}

/* The task may have no descriptor of its terminal. */
static int take_descriptor(const Cor__Names__FileTable *table, unsigned link, pid_t pid,
			   const Cor__Names__PumpChannel *ch, struct cor_error *err)
{
	int number = number_of(table, link, ch), fd;
	char path[80];

	if (number >= 0)
		return cor_files_duplicate(pid, number, err);
	snprintf(path, sizeof(path), "/proc/%d/root%.40s", (int)pid, ch->what);
	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? cor_fail_errno(err, "the terminal %s of process %d", ch->what, (int)pid) : fd;
}

int source_pumps_hand(struct source_pumps *p, pid_t pid, const Cor__Names__FileTable *table,
		      struct cor_error *err)
{
	const Cor__Names__PumpLink *link = fresh_of(p, table);
	_cleanup_free_ int *fds = NULL;
	unsigned n = 0;
	int r = 0;

	if (!link)
		return 0;
	p->missed = p->home < 0;
	if (p->missed)
		return cor_fail(err, -EAGAIN, "descriptor %d came to lead to another process while "
				"the migration was prepared; try again",
				number_of(table, p->naway, link->channels[0]));
	fds = calloc(link->n_channels + 1, sizeof(*fds));
	if (!fds)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (; r == 0 && n < link->n_channels; n++) {
		fds[n] = take_descriptor(table, p->naway, pid, link->channels[n], err);
		r = COR_MIN(fds[n], 0);
	}
	if (r == 0)
		r = cor_pump_ask(p->home, COR_PUMP_TAKE, link, fds, n, NULL, NULL, NULL, err);
	for (unsigned i = 0; i < n; i++)
		cor_closep(&fds[i]);
	return r;
}

void source_pumps_commit(struct source_pumps *p)
{
	if (p->home >= 0)
		cor_pump_tell(p->home, COR_PUMP_COMMIT, 0, NULL, 0, -1);
	for (unsigned i = 0; i < p->naway; i++)
		cor_pump_tell(p->away[i].sock, COR_PUMP_COMMIT, 0, NULL, 0, -1);
}

/* What the ghost keeps open would keep an end of file from those outside. That it cannot
 * be closed does no other harm: it is once the ghost is gone. */
static void close_in_ghost(struct cor_tracee *ghost, const Cor__Names__FileTable *table)
{
	uint64_t insn = 0;

	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__Descriptor *d = table->descriptors[i];
		struct cor_call call = { .nr = SYS_close, .arg = { (uint64_t)d->fd } };
		int64_t ret;

		if (table->files[d->file]->kind != COR__NAMES__FILE_KIND__PUMPED)
			continue;
		if (!insn)
			insn = cor_find_syscall_insn(ghost->pid);
		if (!insn || cor_step_call(ghost->threads[0].tid, insn, &call, &ret, NULL) < 0)
			return;
	}
}

void source_pumps_left(struct source_pumps *p, struct cor_tracee *ghost,
		       const Cor__Names__FileTable *table)
{
	for (unsigned i = 0; i < p->naway; i++)
		cor_pump_tell(p->away[i].sock, COR_PUMP_LEAVE, 0, NULL, 0, -1);
	close_in_ghost(ghost, table);
}

void source_pumps_drop(struct source_pumps *p)
{
	struct pollfd end = { .fd = p->home, .events = POLLIN };

	if (p->home < 0)
		return;
	cor_pump_tell(p->home, COR_PUMP_DROP, 0, NULL, 0, -1);
	poll(&end, 1, END_TIMEOUT_MS);
	close(p->home);
	p->home = -1;
}

void source_pumps_end(struct source_pumps *p)
{
	cor_pump_clients_free(p->away, p->naway);
	free(p->links);
	cor_closep(&p->home);
	explicit_bzero(p->secret, sizeof(p->secret));
}
