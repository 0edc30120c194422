/* Sessions of an earlier cord: found in the state directory, taken over with their
 * workers; see registry.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "daemon/config.h"
#include "daemon/entry.h"
#include "daemon/log.h"
#include "libcor/base/cleanup.h"

struct found {
	struct state_page *page;
	bool source;
};

struct finds {
	struct registry *reg;
	enum state_kind  kind;
	struct found    *list;
	size_t           n;
};

static void find(void *arg, const char *name)
{
	struct finds *f = arg;
	struct state_page *page = NULL;
	struct found *more;
	int r = state_page_open(f->reg->env.state, name, &page);

	if (r == -ESTALE) {
		/* its processes ended with that boot, whatever has their numbers now */
		unlinkat(f->reg->env.state, name, 0);
		return;
	}
	if (r < 0) {
		cord_log(CORD_LOG_WARNING, NULL, "%s in the state directory cannot be read: %s",
			 name, strerror(-r));
		return;
	}
	more = reallocarray(f->list, f->n + 1, sizeof(*more));
	if (!more) {
		state_page_unmap(page);
		return;
	}
	f->list = more;
	f->list[f->n++] = (struct found){ page, f->kind == STATE_SOURCE };
}

static int by_age(const void *a, const void *b)
{
	uint64_t x = ((const struct found *)a)->page->made;
	uint64_t y = ((const struct found *)b)->page->made;

	return x < y ? -1 : x > y;
}

/* The task that came by e's session, if it did: which PID it has here. */
static void note_task(struct entry *e)
{
	json_auto_t *about = NULL;
	struct state_page *task;
	char name[STATE_NAME_MAX];

	state_name(name, STATE_TASK, e->record.session);
	if (state_page_open(e->registry->env.state, name, &task) < 0)
		return;
	about = state_page_about(task);
	if (json_is_integer(json_object_get(about, "pid")))
		json_object_set(e->record.figures, "destination_pid",
				json_object_get(about, "pid"));
	state_page_unmap(task);
}

/* The page is taken in any case. */
static void adopt(struct registry *reg, const struct found *f)
{
	struct entry *e;

	if (entry_new(&e, reg, f->source) < 0) {
		state_page_unmap(f->page);
		return;
	}
	entry_adopt(e, f->page);
	if (!f->source)
		note_task(e);
}

/* Only now, since one may wait for another. */
static void connect_all(struct registry *reg)
{
	struct entry *e;

	DL_FOREACH(reg->list, e) {
		if (e->record.source && e->worker > 0)
			e->after = registry_arriving(reg, e->pid);
		entry_connect(e);
	}
}

int registry_adopt(struct registry *reg)
{
	struct finds f = { .reg = reg };
	int r;

	f.kind = STATE_SOURCE;
	r = state_each(reg->env.state, f.kind, find, &f);
	f.kind = STATE_DESTINATION;
	if (r == 0)
		r = state_each(reg->env.state, f.kind, find, &f);
	if (f.n)
		qsort(f.list, f.n, sizeof(*f.list), by_age);
	for (size_t i = 0; i < f.n; i++)
		adopt(reg, &f.list[i]);
	free(f.list);
	connect_all(reg);
	return r;
}
