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
};

struct tasks {
	struct loop *loop;
	struct task *list;
	unsigned     nended;
};

int tasks_new(struct tasks **out, struct loop *loop)
{
	struct tasks *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->loop = loop;
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
			free_task(k);
			t->nended--;
		}
	}
}

static void set_ended(struct task *k, const struct cor_rebuild_exit *report)
{
	struct tasks *t = k->tasks;

	close_report(k);
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

	if (!json_is_integer(pid))
		return NULL;
	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:I}", "pid", json_integer_value(pid),
			 "supervisor",
			 json_integer_value(json_object_get(message, "supervisor")),
			 "comm", comm ? comm : "?", "from", from ? from : "?",
			 "state", "running", "since", (json_int_t)time(NULL));
}

int tasks_arrived(struct tasks *t, const json_t *message, int report)
{
	_cleanup_close_ int fd = report;
	json_t *json = describe(message);
	struct task *k;
	int r;

	if (!json || fd < 0) {
		json_decref(json);
		return -EINVAL;
	}
	k = calloc(1, sizeof(*k));
	if (!k) {
		json_decref(json);
		return -ENOMEM;
	}
	k->tasks = t;
	k->json = json;
	k->pid = json_integer_value(json_object_get(json, "pid"));
	k->report = take_fd(&fd);
	DL_APPEND(t->list, k);
	r = loop_watch(t->loop, k->report, EPOLLIN, on_report, k, &k->watch);
	if (r < 0)
		free_task(k);
	return r;
}

json_t *tasks_json(const struct tasks *t)
{
	json_t *list = json_array();
	struct task *k;

	DL_FOREACH(t->list, k)
		json_array_append_new(list, json_deep_copy(k->json));
	return list;
}
