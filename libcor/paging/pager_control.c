/* What other threads want of the pager: commands, which the pager's thread runs
 * between two turns while the caller waits; and what they are told. */
#include "libcor/paging/pager_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

static void kick(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

int pager_command(struct cor_pager *p, struct pager_command *c)
{
	c->done = false;
	COR_LOCK(&p->lock);
	if (p->closed)
		return cor_fail(c->err, -ESHUTDOWN, "the pager has ended");
	if (!p->running)
		return c->run(p, c);
	STAILQ_INSERT_TAIL(&p->commands, c, link);
	kick(p->control_fd);
	while (!c->done)
		pthread_cond_wait(&p->answered, &p->lock);
	return c->result;
}

static struct pager_command *take(struct cor_pager *p)
{
	struct pager_command *c;

	COR_LOCK(&p->lock);
	c = STAILQ_FIRST(&p->commands);
	if (c)
		STAILQ_REMOVE_HEAD(&p->commands, link);
	return c;
}

/* From here on *c may be gone: it lies on the caller's stack. */
static void answer(struct cor_pager *p, struct pager_command *c, int result)
{
	COR_LOCK(&p->lock);
	c->result = result;
	c->done = true;
	pthread_cond_broadcast(&p->answered);
}

void pager_run_commands(struct cor_pager *p)
{
	struct pager_command *c;

	while (!p->leave && (c = take(p)))
		answer(p, c, c->run(p, c));
}

void pager_refuse_commands(struct cor_pager *p)
{
	struct pager_command *c;

	pthread_mutex_lock(&p->lock);
	p->closed = true;
	pthread_mutex_unlock(&p->lock);
	while ((c = take(p)))
		answer(p, c, cor_fail(c->err, -ESHUTDOWN, "the pager has ended"));
}

void pager_notify(struct cor_pager *p)
{
	kick(p->event_fd);
}

void pager_set_state(struct cor_pager *p, enum cor_pager_state state)
{
	if (state == COR_PAGER_DRAINED)
		PAGER_COUNT(p, drain_ns, cor_now_ns() - p->started_at - p->stats.drain_ns);
	atomic_store(&p->state, state);
	pager_notify(p);
}

void pager_fail(struct cor_pager *p, int code, const char *fmt, ...)
{
	char text[COR_ERROR_TEXT];
	va_list ap;

	if (atomic_load(&p->state) == COR_PAGER_FAILED)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&p->lock);
	cor_fail(&p->error, code, "%s", text);
	pthread_mutex_unlock(&p->lock);
	pager_set_state(p, COR_PAGER_FAILED);
}
