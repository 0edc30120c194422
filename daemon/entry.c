/* A worker as cord sees it; see entry.h, and worker.h for the messages. */
#include "daemon/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/log.h"
#include "daemon/spawn.h"
#include "daemon/state.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/rdma.h"

/* How often a living worker that is not heard is tried. */
#define RETRY_NS 200000000

/* Messages read in one go, so that one worker cannot hold the loop up. */
#define BATCH 64

int entry_new(struct entry **out, struct registry *reg, bool source)
{
	struct entry *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	r = record_init(&e->record, source);
	if (r < 0) {
		free(e);
		return r;
	}
	e->registry = reg;
	e->sock = e->pidfd = -1;
	e->owner = -1;
	DL_APPEND(reg->list, e);
	*out = e;
	return 0;
}

static void close_socket(struct entry *e)
{
	loop_unwatch(e->registry->env.loop, e->watch);
	e->watch = NULL;
	if (e->sock >= 0)
		close(e->sock);
	e->sock = -1;
}

static void close_pidfd(struct entry *e)
{
	loop_unwatch(e->registry->env.loop, e->pid_watch);
	e->pid_watch = NULL;
	cor_closep(&e->pidfd);
	e->pidfd = -1;
}

void entry_free(struct entry *e)
{
	close_socket(e);
	close_pidfd(e);
	state_page_unmap(e->page);
	DL_DELETE(e->registry->list, e);
	record_clear(&e->record);
	free(e);
}

/* Those who leave again wait until they have arrived wholly. */
static void tell_followers(struct entry *e)
{
	struct entry *f;

	DL_FOREACH(e->registry->list, f) {
		if (f->after != e)
			continue;
		f->after = NULL;
		entry_send(f, json_pack("{s:s}", "type", "go"), -1);
	}
}

static void changed(struct entry *e)
{
	if (e->record.ended)
		tell_followers(e);
	e->registry->env.changed(e->registry->env.arg, e);
}

static void log_result(const struct entry *e)
{
	const struct record *r = &e->record;
	const char *why = json_string_value(json_object_get(r->figures, "error"));

	if (r->ok)
		cord_log(CORD_LOG_NOTICE, r->id, "the task has %s, with all of its pages",
			 r->source ? "left" : "arrived");
	else
		cord_log(r->exit == 3 ? CORD_LOG_ERROR : CORD_LOG_WARNING, r->id, "%s: %s",
			 r->exit == 3 ? "the task is lost" : "the migration failed",
			 why ? why : "no reason was given");
}

static int on_session(struct entry *e, const json_t *message)
{
	int r = record_session(&e->record, message);

	if (r == 0)
		cord_log(CORD_LOG_INFO, e->record.id, "the session has begun");
	return r;
}

static json_int_t corrupt(const struct entry *e)
{
	return json_integer_value(json_object_get(e->record.figures, "pages_corrupt"));
}

/* The first time: someone should look at that network. */
static void log_corruption(const struct entry *e, json_int_t before)
{
	if (!before && corrupt(e) && !e->record.source)
		cord_log(CORD_LOG_WARNING, e->record.id,
			 "pages came spoiled from %s; they are fetched again",
			 json_string_value(json_object_get(e->record.figures, "peer")) ?: "?");
}

static int on_status(struct entry *e, const json_t *message)
{
	enum session_state before = e->record.state;
	json_int_t spoiled = corrupt(e);
	int r = record_status(&e->record, message);

	log_corruption(e, spoiled);

	if (r == 0 && e->record.state != before)
		cord_log(CORD_LOG_INFO, e->record.id, "state %s",
			 session_state_name(e->record.state));
	return r;
}

/* Not a failure: the task runs, perhaps a little slower than at home. */
static void log_huge_pages(const struct entry *e)
{
	const json_t *f = e->record.figures;
	json_int_t left = json_integer_value(json_object_get(f, "huge_pages_left"));

	if (left && !e->record.source)
		cord_log(CORD_LOG_WARNING, e->record.id, "%lld of %lld huge pages could not be made "
			 "again: %s", (long long)left,
			 (long long)(left + json_integer_value(json_object_get(f, "huge_pages"))),
			 json_string_value(json_object_get(f, "huge_pages_error")) ?: "no reason was given");
}

static int on_result(struct entry *e, const json_t *message)
{
	json_int_t spoiled = corrupt(e);
	int r = record_result(&e->record, message);

	log_corruption(e, spoiled);
	if (r == 0) {
		log_result(e);
		log_huge_pages(e);
	}
	return r;
}

static int on_refused(const struct entry *e, const json_t *message)
{
	const char *what = json_string_value(json_object_get(message, "what"));
	const char *why = json_string_value(json_object_get(message, "why"));

	if (!what || !why)
		return -EINVAL;
	cord_log(CORD_LOG_WARNING, e->record.id, "%s is refused: %s", what, why);
	return 0;
}

/* Takes fd (-1: none). */
static void on_message(struct entry *e, const json_t *message, int fd)
{
	const char *type = json_string_value(json_object_get(message, "type"));
	_cleanup_close_ int mine = fd;
	int r = -EINVAL;

	if (type && !strcmp(type, "session"))
		r = on_session(e, message);
	else if (type && !strcmp(type, "status"))
		r = on_status(e, message);
	else if (type && !strcmp(type, "result"))
		r = on_result(e, message);
	else if (type && !strcmp(type, "refused"))
		r = on_refused(e, message);
	else if (type && !strcmp(type, "arrived")) {
		e->registry->env.arrived(e->registry->env.arg, message, take_fd(&mine));
		r = 0;
	}
	if (r < 0)
		cord_log(CORD_LOG_WARNING, e->record.id,
			 "worker %d sent a message that makes no sense: %s", (int)e->worker,
			 type ? type : "no type");
	else
		changed(e);
}

/* 1: a message, 0: none now, -errno: none ever. */
static int receive_one(struct entry *e, char *buf)
{
	int fds[4] = { -1, -1, -1, -1 };
	json_t *message;
	unsigned nfds;
	ssize_t n;

	/* A worker that ended without reading all of ours: told once, ahead of its
	 * own last words, which are still there. */
	do {
		nfds = ARRAY_SIZE(fds);
		n = cor_recv_fds(e->sock, buf, WORKER_MESSAGE_MAX, fds, &nfds);
	} while (n == -ECONNRESET);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n ? (int)n : -EPIPE;
	for (unsigned i = 1; i < nfds; i++)
		close(fds[i]);
	message = json_loadb(buf, (size_t)n, 0, NULL);
	on_message(e, message, nfds ? fds[0] : -1);
	json_decref(message);
	return 1;
}

void entry_receive(struct entry *e)
{
	_cleanup_free_ char *buf = malloc(WORKER_MESSAGE_MAX);
	int r = 1;

	for (int i = 0; buf && e->sock >= 0 && r > 0 && i < BATCH; i++)
		r = receive_one(e, buf);
	if (r < 0) {
		close_socket(e);
		entry_connect(e);
	}
}

static void on_socket(void *arg, uint32_t events)
{
	entry_receive(arg);
}

static void on_pidfd(void *arg, uint32_t events)
{
	entry_worker_ended(arg, -1);
}

struct state_page *entry_page(struct entry *e)
{
	char name[STATE_NAME_MAX];

	if (!e->page && e->record.id[0]) {
		state_name(name, e->record.source ? STATE_SOURCE : STATE_DESTINATION,
			   e->record.session);
		if (state_page_open(e->registry->env.state, name, &e->page) < 0)
			e->page = NULL;
	}
	return e->page;
}

/* A task that runs here, and whose missing pages nobody can bring any more. */
static void abandon(struct entry *e)
{
	if (e->registry->env.abandoned(e->registry->env.arg, e->record.session))
		e->record.died = false;         /* now it is known: the task is dead */
}

static int run_obituary(const void *arg)
{
	const struct entry_source_start *s = arg;

	return s->run(&s->args);
}

/* Nothing is left of a committed session here: has the destination told. */
static void tell_dead(const struct entry *e)
{
	const struct registry *reg = e->registry;
	struct entry_source_start start = { .run = reg->env.workers->obituary,
					    .args = { .cord = -1, .config = reg->env.config } };
	json_auto_t *about = e->page ? state_page_about(e->page) : NULL;
	const char *dest = json_string_value(json_object_get(about, "dest"));
	pid_t pid;

	if (!start.run || !dest)
		return;
	strcpy(start.args.id, e->record.id);
	memcpy(start.args.session, e->record.session, sizeof(start.args.session));
	memcpy(start.args.secret, e->record.secret, sizeof(start.args.secret));
	snprintf(start.args.dest, sizeof(start.args.dest), "%s", dest);
	start.args.epoch = atomic_load(&e->page->epoch);
	pid = spawn_worker("cord-obituary", NULL, 0, run_obituary, &start);
	explicit_bzero(start.args.secret, sizeof(start.args.secret));
	if (pid < 0)
		cord_log(CORD_LOG_ERROR, e->record.id, "%s cannot be told: %s", dest, strerror(-pid));
}

struct mend_start {
	int (*run)(const struct worker_mend_args *args);
	struct worker_mend_args args;
};

static int run_mend(const void *arg)
{
	const struct mend_start *s = arg;

	return s->run(&s->args);
}

/* The task goes on here, with the tracer gone that has taken something from it. */
static void mend(const struct entry *e)
{
	const struct registry *reg = e->registry;
	_cleanup_close_ int undo = state_undo(reg->env.state, e->record.session, false);
	struct mend_start start = { .run = reg->env.workers->mend,
				    .args = { .undo = undo, .config = reg->env.config } };
	pid_t pid;

	if (undo < 0 || !start.run)
		return;
	strcpy(start.args.id, e->record.id);
	memcpy(start.args.session, e->record.session, sizeof(start.args.session));
	pid = spawn_worker("cord-mend", &undo, 1, run_mend, &start);
	if (pid < 0)
		cord_log(CORD_LOG_ERROR, e->record.id, "the task cannot be given back what was taken "
			 "from it: %s", strerror(-pid));
}

/* What the worker has not told us it may have told its page; and if not even that, then
 * how far it got. */
static void find_result(struct entry *e, int status)
{
	struct state_page *page = entry_page(e);
	json_auto_t *result = page ? state_page_result(page) : NULL;
	bool let_go = true;

	if (!result || record_result(&e->record, result) < 0) {
		cord_log(CORD_LOG_WARNING, e->record.id, "the worker has told no result");
		if (page) {
			e->record.state = (enum session_state)atomic_load(&page->state);
			let_go = e->record.source || atomic_load(&page->let_go);
			/* a ghost died with it, or would have run twice */
			if (e->record.source && atomic_load(&page->let_go) &&
			    !record_committed(&e->record))
				e->record.state = SESSION_COMMIT;
		}
		record_worker_died(&e->record, status, let_go);
		if (e->record.died && !e->record.source)
			abandon(e);
		else if (e->record.exit == 3 && page)
			tell_dead(e);
		else if (e->record.source && e->record.exit == 1)
			mend(e);
	}
	log_result(e);
}

/* The keeper has died, but not what it has started: then that is the worker. */
static bool watch_part(struct entry *e)
{
	struct state_page *page = entry_page(e);
	int fd = page ? state_process_open(&page->part) : -1;

	if (fd < 0)
		return false;
	e->pidfd = fd;
	e->worker = atomic_load(&page->part.pid);
	if (loop_watch(e->registry->env.loop, fd, EPOLLIN, on_pidfd, e, &e->pid_watch) < 0) {
		close_pidfd(e);
		e->worker = 0;
		return false;
	}
	cord_log(CORD_LOG_WARNING, e->record.id, "the session goes on with process %d alone",
		 (int)e->worker);
	entry_connect(e);
	return true;
}

void entry_worker_ended(struct entry *e, int status)
{
	/* Its last words first, however many: it writes no more. Its children may
	 * hold the socket open still, so its end of file is not to be waited for. */
	while (e->sock >= 0) {
		_cleanup_free_ char *buf = malloc(WORKER_MESSAGE_MAX);

		if (!buf || receive_one(e, buf) <= 0)
			break;
	}
	close_socket(e);
	close_pidfd(e);
	cor_rdma_sweep();
	cord_log(CORD_LOG_DEBUG, e->record.id, "worker %d has ended, wait status %#x",
		 (int)e->worker, (unsigned)status);
	e->worker = 0;
	if (!e->record.ended && watch_part(e))
		return;
	if (!e->record.ended)
		find_result(e, status);
	changed(e);
}

int entry_start(struct entry *e, const char *name, int *cord, int extra,
		int (*run)(const void *arg), const void *arg, struct cor_error *err)
{
	int pair[2], keep[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return cor_fail_errno(err, "a socket to the worker");
	*cord = keep[0] = pair[1];
	keep[1] = extra;
	pid = spawn_worker(name, keep, extra >= 0 ? 2 : 1, run, arg);
	close(pair[1]);
	e->sock = pair[0];
	fcntl(e->sock, F_SETFL, O_NONBLOCK);        /* this end only */
	if (pid < 0)
		return cor_fail_code(err, pid, "a worker cannot be started");
	e->worker = pid;
	r = loop_watch(e->registry->env.loop, e->sock, EPOLLIN, on_socket, e, &e->watch);
	if (r < 0) {
		/* It sees its socket close, but would do its work unseen: end it. */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return cor_fail_code(err, r, "worker %d cannot be watched", (int)pid);
	}
	return 0;
}

/* Looks after entries that are not heard, in a moment. */
static void retry(struct registry *reg)
{
	const struct itimerspec when = { .it_value.tv_nsec = RETRY_NS };

	timerfd_settime(reg->timer, 0, &when, NULL);
}

void entry_connect(struct entry *e)
{
	struct registry *reg = e->registry;
	int fd;

	if (e->sock >= 0 || e->worker <= 0 || e->record.ended || !e->record.id[0])
		return;
	fd = state_connect(reg->env.state, e->record.source ? STATE_SOURCE : STATE_DESTINATION,
			   e->record.session);
	if (fd < 0 || loop_watch(reg->env.loop, fd, EPOLLIN, on_socket, e, &e->watch) < 0) {
		cor_closep(&fd);
		retry(reg);
		return;
	}
	e->sock = fd;
	/* it may wait for a word that the cord before us was to say */
	if (e->record.source && e->record.state == SESSION_PREPARE && !e->after)
		entry_send(e, json_pack("{s:s}", "type", "go"), -1);
	cord_log(CORD_LOG_INFO, e->record.id, "worker %d is heard again", (int)e->worker);
}

void entry_adopt(struct entry *e, struct state_page *page)
{
	struct registry *reg = e->registry;
	struct record *r = &e->record;
	json_auto_t *about = state_page_about(page);

	e->page = page;
	record_adopt(r, page->session, page->secret, about);
	r->state = (enum session_state)atomic_load(&page->state);
	e->pid = (pid_t)json_integer_value(json_object_get(r->figures, "pid"));
	e->pidfd = state_process_open(&page->keeper);
	if (e->pidfd >= 0)
		e->worker = atomic_load(&page->keeper.pid);
	if (e->pidfd < 0 || loop_watch(reg->env.loop, e->pidfd, EPOLLIN, on_pidfd, e,
				       &e->pid_watch) < 0) {
		entry_worker_ended(e, -1);
		return;
	}
	cord_log(CORD_LOG_NOTICE, r->id, "found in state %s, with worker %d",
		 session_state_name(r->state), (int)e->worker);
}

int entry_send(struct entry *e, json_t *message, int fd)
{
	_cleanup_free_ char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	json_decref(message);
	if (!text)
		return -ENOMEM;
	if (e->sock < 0)
		return -EPIPE;
	return cor_send_fds(e->sock, text, strlen(text), &fd, fd >= 0 ? 1 : 0);
}
