/* The requests of clients, carried out; see command.h. */
#include "daemon/command.h"

#include <cor/cor.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/needs.h"
#include "daemon/log.h"
#include "daemon/owner.h"
#include "daemon/request.h"
#include "libcor/base/error.h"
#include "libcor/transport/tcp.h"

static json_t *event(const char *name, const struct entry *e)
{
	json_t *o = record_json(entry_record(e));

	json_object_set_new(o, "event", json_string(name));
	return o;
}

static json_t *remaining(const struct client *k, pid_t pid)
{
	const struct client_env *env = k->env;
	json_auto_t *sessions = registry_json(env->registry, "");

	return needs_remaining(pid, sessions, env->config);
}

/* A session that goes on: the task runs there, the caller need not wait more. */
static void say_result(struct client *k, bool ok, int code, const char *error)
{
	json_t *o = event("result", k->entry);

	json_object_set_new(o, "ok", json_boolean(ok));
	json_object_set_new(o, "exit", json_integer(code));
	if (error)
		json_object_set_new(o, "error", json_string(error));
	if (k->settles && ok)
		json_object_set_new(o, "remains", remaining(k, (pid_t)json_integer_value(
							json_object_get(o, "destination_pid"))));
	k->settles = false;
	k->wait = WAIT_NONE;
	k->entry = NULL;
	client_say(k, o, false);
}

static void progress_cancel(struct client *k)
{
	const struct record *r = entry_record(k->entry);

	if (r->ended && !r->ok && r->exit != 3)
		say_result(k, true, 0, NULL);
	else if (r->ended || record_committed(r))
		say_result(k, false, 1, "it is too late to cancel: the task was handed over");
}

void command_progress(struct client *k)
{
	const struct record *r = entry_record(k->entry);

	if (k->wait == WAIT_CANCELLED)
		progress_cancel(k);
	else if (r->ended && k->wait == WAIT_RESOLVED)
		say_result(k, true, 0, NULL);
	else if (r->ended)
		say_result(k, r->ok, r->exit, NULL);
	else if (k->wait == WAIT_RESUMED && record_resumed(r))
		say_result(k, true, 0, NULL);
	else
		client_say(k, event("progress", k->entry), true);
}

void command_farewell(struct client *k)
{
	say_result(k, false, 2, "cord ends; the migration goes on without it");
}

/* false: was refused. */
static bool may_move(struct client *k, pid_t pid)
{
	struct cor_error err = COR_ERROR_INIT;

	if (owner_may_move(k->uid, pid, &err) == 0)
		return true;
	cord_log(CORD_LOG_WARNING, NULL, "process %d of user %u is refused: %s", (int)k->pid,
		 (unsigned)k->uid, err.text);
	client_refuse(k, err.text);
	return false;
}

static int64_t owner(const struct client *k)
{
	return owner_is_privileged(k->uid) ? -1 : (int64_t)k->uid;
}

static void run_migrate(struct client *k, struct request *q)
{
	char *addresses[COR_ADDRESSES_MAX + 1] = { NULL };
	const struct client_env *env = k->env;
	const struct cord_config *c = env->config;
	struct registry_source what = {
		.pid = q->pid,
		.dest = cord_config_peer(c, q->dest),
		.shown = q->dest,
		.transport = q->transport,
		.without = q->without,
		.addresses = addresses,
		.hooks = programs_hooks(env->programs, q->pid),
		.epoch = tasks_epoch(env->tasks, q->pid) + 1,
		.arrived = tasks_session(env->tasks, q->pid),
		.owner = owner(k),
		.prefetch = q->prefetch < 0 ? c->paging.prefetch : q->prefetch,
		.outside = q->outside,
	};
	struct cor_error err = COR_ERROR_INIT;
	char why[320];

	for (unsigned i = 0; i < q->naddresses; i++)
		addresses[i] = q->addresses[i];
	if (!what.dest) {
		snprintf(why, sizeof(why), "\"%s\" is neither ADDR:PORT nor a peer's name",
			 q->dest);
		client_refuse(k, why);
		return;
	}
	if (q->pid == getpid()) {
		snprintf(why, sizeof(why), "process %d is cord itself", (int)q->pid);
		client_refuse(k, why);
		return;
	}
	if (kill(q->pid, 0) < 0) {
		snprintf(why, sizeof(why), "process %d: %s", (int)q->pid, strerror(errno));
		client_refuse(k, why);
		return;
	}
	if (!may_move(k, q->pid))
		return;
	if (registry_start_source(env->registry, &what, &k->entry, &err) < 0) {
		client_refuse(k, err.text);
		return;
	}
	k->wait = q->wait_drained ? WAIT_ENDED : WAIT_RESUMED;
	client_say(k, event("progress", k->entry), true);
}

static struct entry *find(struct client *k, const char *id)
{
	struct entry *e = NULL;
	char why[96];
	int r = registry_find(k->env->registry, k->uid, id, &e);

	if (r == 0)
		return e;
	snprintf(why, sizeof(why), "session %s: %s", id,
		 r == -ENOENT ? "there is none" : "several begin like this");
	client_refuse(k, why);
	return NULL;
}

/* What this host offers to its peers. */
static json_t *mechanisms_json(const struct cord_config *c)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < COR_MECHANISMS; i++)
		json_object_set_new(o, cor_mechanism_table[i].name,
				    json_pack("{s:i, s:b}", "version",
					      (int)cor_mechanism_table[i].version, "on",
					      !(c->mechanisms_off >> i & 1)));
	return o;
}

static void run_status(struct client *k, const struct request *q)
{
	const struct client_env *env = k->env;
	json_t *sessions, *tasks;

	if (q->id[0] && !find(k, q->id))
		return;
	sessions = registry_json(env->registry, q->id);
	tasks = q->id[0] ? json_array() : tasks_json(env->tasks);
	needs_add(tasks, sessions, env->config);
	owner_filter(k->uid, tasks);
	owner_filter(k->uid, sessions);
	client_say(k, json_pack("{s:s, s:b, s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "event",
				"result", "ok", 1, "exit", 0, "name", env->config->name,
				"version", cor_version(),
				"mechanisms", mechanisms_json(env->config),
				"tasks", tasks, "sessions", sessions,
				"served", owner_is_privileged(k->uid) ?
				needs_served(env->config->state_dir) : json_array()), false);
}

static void run_cancel(struct client *k, const struct request *q)
{
	struct entry *e = find(k, q->id);
	const struct record *r;

	if (!e)
		return;
	r = entry_record(e);
	if (r->ended) {
		client_refuse(k, "that session has ended already");
		return;
	}
	if (!record_committed(r) && registry_cancel(e) < 0) {
		client_refuse(k, "its worker cannot be told");
		return;
	}
	k->entry = e;
	k->wait = WAIT_CANCELLED;
	progress_cancel(k);
}

/* A person says that the other host is dead. */
static void run_resolve(struct client *k, const struct request *q)
{
	struct entry *e = find(k, q->id);
	const struct record *r;

	if (!e)
		return;
	r = entry_record(e);
	if (r->ended || r->state == SESSION_DRAINED) {
		client_refuse(k, "that session has ended already");
	} else if (!record_committed(r)) {
		client_refuse(k, "that session has not handed the task over: cor cancel ends it");
	} else if (registry_resolve(e) < 0) {
		client_refuse(k, "its worker cannot be told just now");
	} else {
		k->entry = e;
		k->wait = WAIT_RESOLVED;
	}
}

/* As if k had asked for the migration itself. */
static void run_wait(struct client *k, const struct request *q)
{
	struct entry *e = find(k, q->id);

	if (!e)
		return;
	k->entry = e;
	k->wait = q->wait_drained ? WAIT_ENDED : WAIT_RESUMED;
	command_progress(k);
}

/* The task that id means: one here by its PID, or that which came by a session. NULL:
 * was refused. */
static json_t *find_task(struct client *k, const char *id)
{
	const struct client_env *env = k->env;
	json_auto_t *tasks = tasks_json(env->tasks);
	json_auto_t *sessions = registry_json(env->registry, "");
	long long pid = id[strspn(id, "0123456789")] ? 0 : atoll(id);
	struct entry *e = NULL;
	char why[96];
	json_t *task;
	size_t i;

	if (!pid || registry_find(env->registry, k->uid, id, &e) == 0)
		if (e || registry_find(env->registry, k->uid, id, &e) == 0)
			pid = json_integer_value(json_object_get(entry_record(e)->figures,
								 "destination_pid"));
	needs_add(tasks, sessions, env->config);
	owner_filter(k->uid, tasks);
	json_array_foreach(tasks, i, task)
		if (json_integer_value(json_object_get(task, "pid")) == pid &&
		    json_object_get(task, "needs"))
			return json_incref(task);
	snprintf(why, sizeof(why), "%s is no task that has come here and runs", id);
	client_refuse(k, why);
	return NULL;
}

/* Other processes cannot be brought here. */
static bool has_movable(const json_t *needs)
{
	const json_t *n;
	size_t i;

	json_array_foreach(needs, i, n)
		if (strcmp(json_string_value(json_object_get(n, "what")), "processes") != 0)
			return true;
	return false;
}

/* A task moves to where it is already, without its home. */
static void run_settle(struct client *k, const struct request *q)
{
	const struct client_env *env = k->env;
	struct registry_source what = {
		.shown = env->config->name, .transport = "", .settle = true,
		.without = 1u << COR_MECHANISM_HOME, .prefetch = true,
		.owner = owner(k),
	};
	json_auto_t *task = find_task(k, q->id);
	struct cor_error err = COR_ERROR_INIT;
	char address[COR_ADDRPORT_TEXT];

	if (!task)
		return;
	what.pid = (pid_t)json_integer_value(json_object_get(task, "pid"));
	if (!has_movable(json_object_get(task, "needs"))) {
		client_say(k, json_pack("{s:s, s:b, s:i, s:i, s:i, s:i, s:o}", "event", "result",
					"ok", 1, "exit", 0, "pid", (int)what.pid,
					"destination_pid", (int)what.pid, "files_copied", 0,
					"remains", remaining(k, what.pid)), false);
		return;
	}
	if (!may_move(k, what.pid))
		return;
	what.hooks = programs_hooks(env->programs, what.pid);
	what.epoch = tasks_epoch(env->tasks, what.pid) + 1;
	what.arrived = tasks_session(env->tasks, what.pid);
	if (cord_config_self(env->config, address, sizeof(address)) < 0) {
		client_refuse(k, "this host's own address cannot be told");
		return;
	}
	what.dest = address;
	if (registry_start_source(env->registry, &what, &k->entry, &err) < 0) {
		client_refuse(k, err.text);
		return;
	}
	k->wait = WAIT_ENDED;
	k->settles = true;
	client_say(k, event("progress", k->entry), true);
}

static void run_version(struct client *k)
{
	client_say(k, json_pack("{s:s, s:b, s:i, s:s, s:s}", "event", "result", "ok", 1,
				"exit", 0, "version", cor_version(),
				"name", k->env->config->name), false);
}

/* It does not wait for an answer. */
static void run_register(struct client *k, const struct request *q)
{
	if (k->pid > 0)
		programs_add(k->env->programs, k->pid, q->hooks);
}

void command_run(struct client *k, const char *line, size_t len)
{
	struct cor_error err = COR_ERROR_INIT;
	struct request q;

	if (request_parse(&q, line, len, &err) < 0) {
		client_refuse(k, err.text);
		return;
	}
	switch (q.command) {
	case REQUEST_MIGRATE: run_migrate(k, &q); break;
	case REQUEST_STATUS:  run_status(k, &q);  break;
	case REQUEST_CANCEL:  run_cancel(k, &q);  break;
	case REQUEST_SETTLE:  run_settle(k, &q);  break;
	case REQUEST_WAIT:    run_wait(k, &q);    break;
	case REQUEST_RESOLVE: run_resolve(k, &q); break;
	case REQUEST_VERSION: run_version(k);     break;
	case REQUEST_REGISTER: run_register(k, &q); break;
	}
}
