/* Arrived tasks; see tasks.h. */
#include "daemon/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/log.h"
#include "daemon/record.h"
#include "daemon/state.h"
#include "libcor/base/cleanup.h"
#include "libcor/task/rebuild.h"

#define KEEP_ENDED 100

struct task {
	struct task  *prev, *next;
	struct tasks *tasks;
	int           report;
	struct watch *watch;
	json_t       *json;      /* as shown */
	long long     pid;
	bool          ended;
	uint8_t       session[16];      /* by which it came; zeros: has no page */
	struct state_page *page;        /* NULL: none */
};

struct tasks {
	struct loop *loop;
	int          state;
	struct task *list;
	unsigned     nended;
};

int tasks_new(struct tasks **out, struct loop *loop, int state)
{
	struct tasks *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->loop = loop;
	t->state = state;
	*out = t;
	return 0;
}

static void close_report(struct task *k)
{
	loop_unwatch(k->tasks->loop, k->watch);
	k->watch = NULL;
	if (k->report >= 0)
		close(k->report);
	k->report = -1;
}

static void free_task(struct task *k)
{
	close_report(k);
	DL_DELETE(k->tasks->list, k);
	json_decref(k->json);
	state_page_unmap(k->page);
	free(k);
}

void tasks_free(struct tasks *t)
{
	struct task *k, *next;

	if (!t)
		return;
	DL_FOREACH_SAFE(t->list, k, next)
		free_task(k);
	free(t);
}

static void forget_oldest(struct tasks *t)
{
	struct task *k, *next;

	DL_FOREACH_SAFE(t->list, k, next) {
		if (t->nended <= KEEP_ENDED)
			return;
		if (k->ended) {
			if (k->page)
				state_remove(t->state, STATE_TASK, k->session);
			free_task(k);
			t->nended--;
		}
	}
}

static void set_ended(struct task *k, const struct cor_rebuild_exit *report)
{
	struct tasks *t = k->tasks;

	close_report(k);
	/* the supervisor notes it there before it tells */
	if (!report && k->page && k->page->exit.pid)
		report = &k->page->exit;
	k->ended = true;
	json_object_set_new(k->json, "ended", json_integer(time(NULL)));
	if (!report) {
		cord_log(CORD_LOG_NOTICE, NULL, "task %lld ended; how is not known", k->pid);
		json_object_set_new(k->json, "state", json_string("ended"));
	} else if (WIFSIGNALED(report->status)) {
		cord_log(CORD_LOG_NOTICE, NULL, "task %lld was ended by signal %d", k->pid,
			 WTERMSIG(report->status));
		json_object_set_new(k->json, "state", json_string("killed"));
		json_object_set_new(k->json, "signal", json_integer(WTERMSIG(report->status)));
	} else {
		cord_log(CORD_LOG_NOTICE, NULL, "task %lld exited with status %d", k->pid,
			 WEXITSTATUS(report->status));
		json_object_set_new(k->json, "state", json_string("exited"));
		json_object_set_new(k->json, "exit", json_integer(WEXITSTATUS(report->status)));
	}
	t->nended++;
	forget_oldest(t);
}

static void on_report(void *arg, uint32_t events)
{
	struct task *k = arg;
	struct cor_rebuild_exit report;
	ssize_t n = recv(k->report, &report, sizeof(report), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	set_ended(k, n == (ssize_t)sizeof(report) ? &report : NULL);
}

static json_t *describe(const json_t *message)
{
	const char *comm = json_string_value(json_object_get(message, "comm"));
	const char *from = json_string_value(json_object_get(message, "from"));
	const json_t *pid = json_object_get(message, "pid");
	json_t *shown;

	if (!json_is_integer(pid))
		return NULL;
	shown = json_pack("{s:I, s:I, s:s, s:s, s:s, s:I}", "pid", json_integer_value(pid),
			 "supervisor",
			 json_integer_value(json_object_get(message, "supervisor")),
			 "comm", comm ? comm : "?", "from", from ? from : "?",
			 "state", "running", "since",
			 json_is_integer(json_object_get(message, "since")) ?
			 json_integer_value(json_object_get(message, "since")) :
			 (json_int_t)time(NULL));
	json_object_set(shown, "uid", json_object_get(message, "uid"));
	return shown;
}

static const uint8_t no_session[sizeof(((struct task *)0)->session)];

/* Takes json, page (NULL: none) and report (-1: the supervisor is asked, by its socket; it
 * may have ended with the task). */
static int add(struct tasks *t, json_t *json, const uint8_t *session, struct state_page *page,
	       int report)
{
	struct task *k = calloc(1, sizeof(*k));
	_cleanup_close_ int fd = report;
	int r;

	if (!k) {
		json_decref(json);
		state_page_unmap(page);
		return -ENOMEM;
	}
	k->tasks = t;
	k->json = json;
	k->pid = json_integer_value(json_object_get(json, "pid"));
	k->page = page;
	memcpy(k->session, session, sizeof(k->session));
	DL_APPEND(t->list, k);
	if (fd < 0 && page && !page->exit.pid)
		fd = state_connect(t->state, STATE_TASK, k->session);
	k->report = take_fd(&fd);
	if (k->report < 0) {
		set_ended(k, NULL);
		return 0;
	}
	r = loop_watch(t->loop, k->report, EPOLLIN, on_report, k, &k->watch);
	if (r < 0)
		free_task(k);
	return r;
}

/* From the state directory, or told by another of its workers. */
static bool is_known(const struct tasks *t, const uint8_t *session)
{
	const struct task *k;

	DL_FOREACH(t->list, k)
		if (session != no_session && !memcmp(k->session, session, sizeof(k->session)))
			return true;
	return false;
}

int tasks_arrived(struct tasks *t, const json_t *message, int report)
{
	const char *id = json_string_value(json_object_get(message, "id"));
	uint8_t session[sizeof(no_session)];
	bool named = id && hex_decode(session, id, sizeof(session)) == 0;
	_cleanup_close_ int fd = report;
	struct state_page *page = NULL;
	char name[STATE_NAME_MAX];
	json_t *json;

	if (is_known(t, named ? session : no_session))
		return 0;
	if (named) {
		state_name(name, STATE_TASK, session);
		if (state_page_open(t->state, name, &page) < 0)
			page = NULL;
	}
	json = fd >= 0 || page ? describe(message) : NULL;
	if (!json) {
		state_page_unmap(page);
		return -EINVAL;
	}
	return add(t, json, named ? session : no_session, page, take_fd(&fd));
}

/* ---- tasks of an earlier cord -------------------------------------------------------- */

struct finds {
	struct tasks *tasks;
	void (*found)(void *arg, const json_t *about);
	void *arg;
};

/* One that had not arrived yet, and never will: its session is dead. */
static void drop_stale(struct tasks *t, const struct state_page *page)
{
	struct state_page *session = NULL;
	char name[STATE_NAME_MAX];
	int alive = -1;

	state_name(name, STATE_DESTINATION, page->session);
	if (state_page_open(t->state, name, &session) == 0)
		alive = state_process_open(&session->keeper);
	if (alive < 0)
		state_remove(t->state, STATE_TASK, page->session);
	cor_closep(&alive);
	state_page_unmap(session);
}

/* Takes page. */
static void adopt(struct finds *f, struct state_page *page)
{
	json_auto_t *about = state_page_about(page);
	json_t *json = describe(about);
	const struct task *k;

	if (!json) {
		state_page_unmap(page);
		return;
	}
	if (add(f->tasks, json, page->session, page, -1) < 0)
		return;
	DL_FOREACH(f->tasks->list, k)
		if (k->json == json && !k->ended)
			f->found(f->arg, about);
}

static void find(void *arg, const char *name)
{
	struct finds *f = arg;
	struct state_page *page;
	int r = state_page_open(f->tasks->state, name, &page);

	if (r == -ESTALE)
		unlinkat(f->tasks->state, name, 0);
	if (r < 0)
		return;
	if (atomic_load(&page->state) == SESSION_PAGING) {
		adopt(f, page);
		return;
	}
	drop_stale(f->tasks, page);
	state_page_unmap(page);
}

static int by_age(const struct task *a, const struct task *b)
{
	return a->page->made < b->page->made ? -1 : a->page->made > b->page->made;
}

int tasks_adopt(struct tasks *t, void (*found)(void *arg, const json_t *about), void *arg)
{
	struct finds f = { t, found, arg };
	int r = state_each(t->state, STATE_TASK, find, &f);

	DL_SORT(t->list, by_age);
	return r;
}

static const struct task *running(const struct tasks *t, pid_t pid)
{
	const struct task *k;

	DL_FOREACH(t->list, k)
		if (!k->ended && k->pid == pid)
			return k;
	return NULL;
}

uint64_t tasks_epoch(const struct tasks *t, pid_t pid)
{
	const struct task *k = running(t, pid);

	if (!k)
		return 0;
	return k->page ? atomic_load(&k->page->epoch) : 1;
}

const uint8_t *tasks_session(const struct tasks *t, pid_t pid)
{
	const struct task *k = running(t, pid);

	return k && k->page ? k->session : NULL;
}

int tasks_kill(struct tasks *t, const uint8_t session[16])
{
	const struct cor_rebuild_exit order = { 0, 0 };
	struct task *k;

	DL_FOREACH(t->list, k) {
		if (k->ended || memcmp(k->session, session, sizeof(k->session)))
			continue;
		return send(k->report, &order, sizeof(order), MSG_NOSIGNAL) < 0 ? -EPIPE : 0;
	}
	return -ENOENT;
}

json_t *tasks_json(const struct tasks *t)
{
	json_t *list = json_array();
	struct task *k;

	DL_FOREACH(t->list, k)
		json_array_append_new(list, json_deep_copy(k->json));
	return list;
}
