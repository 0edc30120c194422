/* The list of migrations; see registry.h. What comes from their workers is in
 * entry.c. */
#include "daemon/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/config.h"
#include "daemon/entry.h"
#include "daemon/log.h"
#include "daemon/outcome.h"
#include "daemon/owner.h"
#include "daemon/spawn.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define WORKERS_MAX 256
#define WORKERS_OF_USER 32      /* of one user other than root */
/* Of them, those whose peer has not said yet, or not proved, who it is. */
#define GREETING_MAX 96
#define KEEP_ENDED  100

/* For workers that are not heard. */
static void on_timer(void *arg, uint32_t events)
{
	struct registry *reg = arg;
	struct entry *e, *next;
	uint64_t n;

	if (read(reg->timer, &n, sizeof(n)) < 0 && errno != EAGAIN)
		cord_log(CORD_LOG_ERROR, NULL, "the timer of sessions: %s", strerror(errno));
	DL_FOREACH_SAFE(reg->list, e, next)
		entry_connect(e);
}

static int new_timer(struct registry *reg)
{
	int r;

	reg->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (reg->timer < 0)
		return -errno;
	r = loop_watch(reg->env.loop, reg->timer, EPOLLIN, on_timer, reg, &reg->timer_watch);
	if (r < 0)
		close(reg->timer);
	return r;
}

int registry_new(struct registry **out, const struct registry_env *env)
{
	struct registry *reg = calloc(1, sizeof(*reg));
	int r;

	if (!reg)
		return -ENOMEM;
	reg->env = *env;
	r = new_timer(reg);
	if (r < 0) {
		free(reg);
		return r;
	}
	*out = reg;
	return 0;
}

void registry_free(struct registry *reg)
{
	struct entry *e, *next;

	if (!reg)
		return;
	DL_FOREACH_SAFE(reg->list, e, next)
		entry_free(e);
	loop_unwatch(reg->env.loop, reg->timer_watch);
	close(reg->timer);
	free(reg);
}

unsigned registry_workers(const struct registry *reg)
{
	unsigned n = 0;
	struct entry *e;

	DL_FOREACH(reg->list, e)
		n += e->worker > 0;
	return n;
}

bool registry_child_ended(struct registry *reg, pid_t pid, int status)
{
	struct entry *e;

	for (unsigned i = 0; i < TELLERS_MAX; i++) {
		if (reg->tellers[i] != pid)
			continue;
		reg->tellers[i] = 0;
		return true;
	}

	DL_FOREACH(reg->list, e) {
		if (e->worker != pid)
			continue;
		entry_worker_ended(e, status);
		return true;
	}
	return false;
}

int registry_room(const struct registry *reg)
{
	unsigned greeting = 0;
	struct entry *e;

	DL_FOREACH(reg->list, e)
		greeting += e->worker > 0 && !e->record.id[0];
	return registry_workers(reg) < WORKERS_MAX && greeting < GREETING_MAX ? 0 : -EBUSY;
}

/* Only ended ones whose worker is gone as well: nobody waits for those. */
static void forget_oldest(struct registry *reg)
{
	struct entry *e, *next;
	unsigned ended = 0;

	DL_FOREACH(reg->list, e)
		ended += e->record.ended && e->worker <= 0;
	DL_FOREACH_SAFE(reg->list, e, next) {
		if (ended <= KEEP_ENDED)
			return;
		if (!e->record.ended || e->worker > 0)
			continue;
		if (e->record.id[0])
			state_remove(reg->env.state,
				     e->record.source ? STATE_SOURCE : STATE_DESTINATION,
				     e->record.session);
		entry_free(e);
		ended--;
	}
}

static struct entry *migrating(struct registry *reg, pid_t pid)
{
	struct entry *e;

	DL_FOREACH(reg->list, e)
		if (e->record.source && e->pid == pid && !e->record.ended)
			return e;
	return NULL;
}

struct entry *registry_arriving(struct registry *reg, pid_t pid)
{
	struct entry *e;

	DL_FOREACH(reg->list, e) {
		const json_t *there = json_object_get(e->record.figures, "destination_pid");

		if (!e->record.source && !e->record.ended && json_is_integer(there) &&
		    json_integer_value(there) == pid)
			return e;
	}
	return NULL;
}

static void set_comm(struct record *r, pid_t pid)
{
	_cleanup_free_ char *comm = NULL;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (cor_slurp(AT_FDCWD, path, &comm, NULL) < 0)
		return;
	comm[strcspn(comm, "\n")] = 0;
	record_set_text(r, "comm", comm);
}

static void set_owner(struct record *r, pid_t pid)
{
	uid_t uid;

	if (owner_of(pid, &uid) == 0)
		json_object_set_new(r->figures, "uid", json_integer(uid));
}

/* Migrations of one user other than root that run. */
static unsigned workers_of(const struct registry *reg, int64_t uid)
{
	const struct entry *e;
	unsigned n = 0;

	DL_FOREACH(reg->list, e)
		n += e->worker > 0 && e->owner == uid;
	return n;
}

static int run_source(const void *arg)
{
	const struct entry_source_start *s = arg;

	return s->run(&s->args);
}

static int run_destination(const void *arg)
{
	const struct entry_destination_start *s = arg;

	return s->run(&s->args);
}

static int fill_identity(struct record *r, struct cor_error *err)
{
	int code = cor_secret_make(r->session, sizeof(r->session), err);

	if (code == 0)
		code = cor_secret_make(r->secret, sizeof(r->secret), err);
	hex_encode(r->id, r->session, sizeof(r->session));
	return code;
}

static void fill_source_args(struct worker_source_args *a, const struct entry *e,
			     const struct registry_source *what)
{
	const struct record *r = &e->record;

	memset(a, 0, sizeof(*a));
	strcpy(a->id, r->id);
	memcpy(a->session, r->session, sizeof(a->session));
	memcpy(a->secret, r->secret, sizeof(a->secret));
	a->pid = what->pid;
	snprintf(a->dest, sizeof(a->dest), "%s", what->dest);
	snprintf(a->peer, sizeof(a->peer), "%s", what->shown);
	a->prefetch = what->prefetch;
	a->outside = what->outside;
	a->without = what->without;
	a->settle = what->settle;
	a->addresses = what->addresses;
	a->hooks = what->hooks;
	a->owner = what->owner;
	a->epoch = what->epoch;
	a->arrived = what->arrived;
	a->wait_for_go = e->after != NULL;
	snprintf(a->transport, sizeof(a->transport), "%s", what->transport);
	a->config = e->registry->env.config;
}

int registry_start_source(struct registry *reg, const struct registry_source *what,
			  struct entry **out, struct cor_error *err)
{
	struct entry_source_start start = { .run = reg->env.workers->source };
	struct entry *e = migrating(reg, what->pid);
	int r;

	if (e)
		return cor_fail(err, -EALREADY, "task %d is already migrating, as session %s",
				(int)what->pid, e->record.id);
	if (registry_workers(reg) >= WORKERS_MAX)
		return cor_fail(err, -EBUSY, "%u migrations are running, and no more may",
				WORKERS_MAX);
	if (what->owner >= 0 && workers_of(reg, what->owner) >= WORKERS_OF_USER)
		return cor_fail(err, -EBUSY, "%u migrations of yours are running, and no more may",
				WORKERS_OF_USER);
	forget_oldest(reg);
	r = entry_new(&e, reg, true);
	if (r < 0)
		return cor_fail_code(err, r, "the session of task %d", (int)what->pid);
	e->pid = what->pid;
	e->owner = what->owner;
	e->after = registry_arriving(reg, what->pid);
	if (e->after)
		entry_send(e->after, json_pack("{s:s}", "type", "prefetch"), -1);
	json_object_set_new(e->record.figures, "pid", json_integer(what->pid));
	record_set_text(&e->record, "peer", what->shown);
	set_comm(&e->record, what->pid);
	set_owner(&e->record, what->pid);
	r = fill_identity(&e->record, err);
	if (r == 0) {
		fill_source_args(&start.args, e, what);
		r = entry_start(e, "cord-source", &start.args.cord, -1, run_source, &start, err);
	}
	explicit_bzero(start.args.secret, sizeof(start.args.secret));
	if (r < 0) {
		entry_free(e);
		return r;
	}
	cord_log(CORD_LOG_NOTICE, e->record.id, "task %d leaves for %s (worker %d)",
		 (int)what->pid, what->shown, (int)e->worker);
	*out = e;
	return 0;
}

int registry_start_destination(struct registry *reg, int control, bool tls, const char *peer,
			       struct cor_error *err)
{
	_cleanup_close_ int fd = control;
	struct entry_destination_start start = {
		.run = reg->env.workers->destination,
		.args = { .control = fd, .tls = tls, .config = reg->env.config },
	};
	struct entry *e;
	int r;

	if (registry_room(reg) < 0)
		return cor_fail(err, -EBUSY, "too many migrations are running, or beginning");
	forget_oldest(reg);
	r = entry_new(&e, reg, false);
	if (r < 0)
		return cor_fail_code(err, r, "the session from %s", peer);
	record_set_text(&e->record, "peer", peer);
	snprintf(start.args.peer, sizeof(start.args.peer), "%s", peer);
	r = entry_start(e, "cord-dest", &start.args.cord, fd, run_destination, &start, err);
	if (r < 0) {
		entry_free(e);
		return r;
	}
	cord_log(CORD_LOG_INFO, NULL, "%s asks to send a task (worker %d)", peer,
		 (int)e->worker);
	return 0;
}

static int match_lane(struct registry *reg, const struct cor_preamble *p, struct entry **out)
{
	int found = -ENOENT;
	struct entry *e;

	DL_FOREACH(reg->list, e) {
		const struct record *r = &e->record;
		int code;

		if (!r->takes_lanes || r->source || e->sock < 0)
			continue;
		code = cor_preamble_check(p, r->session, r->secret);
		if (code == 0) {
			*out = e;
			return 0;
		}
		if (code == -EPERM)
			found = code;
	}
	return found;
}

int registry_lane_check(struct registry *reg, const struct cor_preamble *p, struct entry **out)
{
	int r = match_lane(reg, p, out);
	struct entry *e, *next;

	if (r != -ENOENT)
		return r;
	/* The worker told its session before the source could know of it, but the
	 * message may still be in its socket while the lane is already here. */
	DL_FOREACH_SAFE(reg->list, e, next)
		if (!e->record.source && !e->record.takes_lanes)
			entry_receive(e);
	return match_lane(reg, p, out);
}

int registry_rejoin_check(struct registry *reg, const struct cor_preamble *p, struct entry **out)
{
	int found = -ENOENT;
	struct entry *e;

	DL_FOREACH(reg->list, e) {
		const struct record *r = &e->record;
		int code;

		/* without an identity yet, its session is all zeros */
		if (r->source || !r->id[0])
			continue;
		code = cor_preamble_check(p, r->session, r->secret);
		if (code == 0) {
			/* the worker's last words may not have been read yet */
			entry_receive(e);
			code = record_outcome(r);
			/* it is not heard just now, or is ending */
			if (code == 0 && e->sock < 0)
				code = -EBUSY;
			*out = e;
			return code;
		}
		if (code == -EPERM)
			found = code;
	}
	return found;
}

int registry_lane_give(struct entry *e, const struct cor_preamble *p, int fd)
{
	_cleanup_close_ int lane = fd;
	static const char *const kinds[] = {
		[COR_CONN_CONTROL] = "control", [COR_CONN_DEMAND] = "demand",
		[COR_CONN_BULK] = "bulk",
	};
	json_t *message = json_pack("{s:s, s:s, s:i, s:b}", "type", "lane", "kind", kinds[p->kind],
				    "index", (int)p->index, "tls", p->security == COR_SECURITY_TLS);

	return entry_send(e, message, lane);
}

int registry_tell_outcome(struct registry *reg, const struct entry *e, int sock, uint8_t index,
			  int status)
{
	_cleanup_close_ int fd = sock;
	struct outcome o = {
		.sock = fd, .index = index, .status = status,
		.timeout_s = reg->env.config->timeouts.preamble_s,
	};
	pid_t *place = NULL, pid;
	int r;

	for (unsigned i = 0; i < TELLERS_MAX && !place; i++)
		if (!reg->tellers[i])
			place = &reg->tellers[i];
	r = cor_preamble_answer(fd, place ? 0 : -EBUSY);
	if (!place || r < 0)
		return r < 0 ? r : -EBUSY;
	memcpy(o.session, e->record.session, sizeof(o.session));
	memcpy(o.secret, e->record.secret, sizeof(o.secret));
	pid = outcome_tell(&o);
	explicit_bzero(o.secret, sizeof(o.secret));
	if (pid < 0)
		return pid;
	*place = pid;
	return 0;
}

int registry_find(const struct registry *reg, uid_t uid, const char *id, struct entry **out)
{
	struct entry *e, *best = NULL;
	size_t len = strlen(id);

	DL_FOREACH(reg->list, e) {
		if (!e->record.id[0] || strncmp(e->record.id, id, len) ||
		    !owner_sees(uid, e->record.figures))
			continue;
		if (best && strcmp(best->record.id, e->record.id))
			return -ENOTUNIQ;
		if (!best || e->record.source)
			best = e;
	}
	if (!best)
		return -ENOENT;
	*out = best;
	return 0;
}

int registry_cancel(struct entry *e)
{
	return entry_send(e, json_pack("{s:s}", "type", "cancel"), -1);
}

int registry_resolve(struct entry *e)
{
	cord_log(CORD_LOG_WARNING, e->record.id, "somebody says that the other host is dead");
	return entry_send(e, json_pack("{s:s}", "type", "resolve"), -1);
}

const struct record *entry_record(const struct entry *e)
{
	return &e->record;
}

json_t *registry_json(const struct registry *reg, const char *id)
{
	json_t *list = json_array();
	struct entry *e;

	DL_FOREACH(reg->list, e) {
		json_t *one;

		if (strncmp(e->record.id, id, strlen(id)))
			continue;
		one = record_json(&e->record);
		if (e->worker > 0)
			json_object_set_new(one, "worker", json_integer(e->worker));
		json_array_append_new(list, one);
	}
	return list;
}
