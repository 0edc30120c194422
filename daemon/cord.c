/* The daemon's life, from its sockets to their removal; see cord.h. */
#include "daemon/cord.h"

#include <cor/cor.h>
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/address.h"
#include "daemon/clients.h"
#include "daemon/keys.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/notify.h"
#include "daemon/privilege.h"
#include "daemon/programs.h"
#include "daemon/registry.h"
#include "daemon/state.h"
#include "daemon/tasks.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

struct cord {
	const struct cord_config *config;
	int              state;         /* the state directory */
	struct loop     *loop;
	struct registry *registry;
	struct tasks    *tasks;
	struct programs *programs;
	struct clients  *clients;
	struct listener *listener;
	int              signals;
	struct watch    *signal_watch;
};

static void on_changed(void *arg, struct entry *e)
{
	struct cord *c = arg;

	if (c->clients)         /* none before all has begun */
		clients_changed(c->clients, e);
}

static int note_hooks(struct cord *c, const json_t *task)
{
	json_int_t hooks = json_integer_value(json_object_get(task, "hooks"));
	json_int_t pid = json_integer_value(json_object_get(task, "pid"));

	return hooks > 0 ? programs_add(c->programs, (pid_t)pid, (uint64_t)hooks) : 0;
}

/* A task that arrived under an earlier cord. */
static void on_found(void *arg, const json_t *task)
{
	note_hooks(arg, task);
	cord_log(CORD_LOG_NOTICE, NULL, "task %lld is here from before",
		 (long long)json_integer_value(json_object_get(task, "pid")));
}

static void on_arrived(void *arg, const json_t *message, int report)
{
	struct cord *c = arg;
	int r = tasks_arrived(c->tasks, message, report);

	if (r == 0)
		r = note_hooks(c, message);
	if (r < 0)
		cord_log(CORD_LOG_ERROR, NULL, "an arrived task cannot be listed: %s",
			 strerror(-r));
}

static bool on_abandoned(void *arg, const uint8_t session[16])
{
	struct cord *c = arg;

	return tasks_kill(c->tasks, session) == 0;
}

/* Workers, and what they leave behind: cord is the subreaper of these, since not
 * every PID 1 of a container reaps. */
static void reap(struct cord *c)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!registry_child_ended(c->registry, pid, status))
			cord_log(CORD_LOG_DEBUG, NULL, "process %d, left by a worker, has ended",
				 (int)pid);
}

static void on_signal(void *arg, uint32_t events)
{
	struct cord *c = arg;
	struct signalfd_siginfo info;

	if (read(c->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD) {
		reap(c);
		return;
	}
	cord_log(CORD_LOG_NOTICE, NULL, "%s: cord ends; workers that live on: %u",
		 strsignal((int)info.ssi_signo), registry_workers(c->registry));
	loop_stop(c->loop);
}

static int watch_signals(struct cord *c, struct cor_error *err)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (c->signals < 0)
		return cor_fail_errno(err, "signalfd");
	r = loop_watch(c->loop, c->signals, EPOLLIN, on_signal, c, &c->signal_watch);
	return r < 0 ? cor_fail_code(err, r, "signals cannot be watched") : 0;
}

/* What leads to it is made as well, for all to pass. */
static int make_directory(const char *path, mode_t mode, struct cor_error *err)
{
	_cleanup_free_ char *part = strdup(path);

	if (!part)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (char *at = strchr(part + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return cor_fail_errno(err, "the directory %s cannot be made", part);
		*at = '/';
	}
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return cor_fail_errno(err, "the directory %s cannot be made", path);
	return 0;
}

static int make_directories(const struct cord_config *config, struct cor_error *err)
{
	char control[sizeof(config->control)], pumps[sizeof(config->control) + 8];
	int r;

	cord_config_pumps(config, pumps, sizeof(pumps));
	/* tasks that leave find the hosts there wherever they are */
	r = config->uniform ? make_directory("/cor", 0755, err) : 0;
	if (r < 0)
		return r;

	strcpy(control, config->control);
	r = make_directory(dirname(control), 0755, err);
	if (r == 0)
		r = make_directory(pumps, 0700, err);
	return r < 0 ? r : make_directory(config->state_dir, 0700, err);
}

static int start(struct cord *c, const struct worker_ops *workers, struct cor_error *err)
{
	struct registry_env registry = { .workers = workers, .config = c->config,
					 .changed = on_changed, .arrived = on_arrived,
					 .abandoned = on_abandoned, .arg = c };
	struct client_env clients = { .config = c->config };
	int r = make_directories(c->config, err);

	if (r == 0)
		r = c->state = registry.state = state_open_alone(c->config->state_dir, err);
	if (r < 0)
		return r;
	r = loop_new(&c->loop);
	registry.loop = clients.loop = c->loop;
	if (r == 0)
		r = tasks_new(&c->tasks, c->loop, c->state);
	if (r == 0)
		r = programs_new(&c->programs);
	if (r == 0)
		r = registry_new(&c->registry, &registry);
	if (r < 0)
		return cor_fail_code(err, r, "cord cannot begin");
	r = watch_signals(c, err);
	if (r < 0)
		return r;
	/* the tasks first: a session may be about one; and all of it before anybody can ask */
	r = tasks_adopt(c->tasks, on_found, c);
	if (r == 0)
		r = registry_adopt(c->registry);
	if (r < 0)
		return cor_fail_code(err, r, "the state directory %s", c->config->state_dir);
	r = listener_new(&c->listener, c->loop, c->registry, c->config, err);
	if (r < 0)
		return r;
	clients.registry = c->registry;
	clients.tasks = c->tasks;
	clients.programs = c->programs;
	return clients_new(&c->clients, &clients, err);
}

static void stop(struct cord *c)
{
	clients_free(c->clients);
	listener_free(c->listener);
	registry_free(c->registry);
	tasks_free(c->tasks);
	programs_free(c->programs);
	if (c->loop)
		loop_unwatch(c->loop, c->signal_watch);
	if (c->signals >= 0)
		close(c->signals);
	loop_free(c->loop);
	cor_closep(&c->state);
}

static void say_ready(const struct cord *c)
{
	char host[sizeof(c->config->listen)];
	int r;

	if (cord_keys_set(c->config)) {
		if (c->config->insecure)
			cord_log(CORD_LOG_WARNING, NULL, "--insecure is without effect: there are "
				 "keys, so nothing is served in the clear");
	} else if (cord_address_is_loopback(c->config->listen) == 0)
		cord_log(CORD_LOG_WARNING, NULL,
			 "--insecure: whoever reaches %s can send tasks here, and nothing that "
			 "is sent is encrypted", c->config->listen);
	strcpy(host, c->config->listen);
	*strrchr(host, ':') = 0;
	cord_log(CORD_LOG_NOTICE, NULL, "cord %s is ready: name %s, peers at %s:%u, control at %s",
		 cor_version(), c->config->name, host, listener_port(c->listener),
		 c->config->control);
	r = cord_notify("READY=1");
	if (r < 0)
		cord_log(CORD_LOG_WARNING, NULL, "the service manager cannot be told: %s",
			 strerror(-r));
}

int cord_run(const struct cord_config *config, const struct worker_ops *workers,
	     struct cor_error *err)
{
	struct cord c = { .config = config, .state = -1, .signals = -1 };
	int r = privilege_limit(config, err);

	/* a worker has a copy of each descriptor of its task, of a connection that moves two */
	cor_raise_descriptors(NULL);
	if (r == 0)
		r = start(&c, workers, err);

	if (r == 0) {
		say_ready(&c);
		r = loop_run(c.loop);
		if (r < 0)
			cor_fail_code(err, r, "the event loop");
		cord_notify("STOPPING=1");
	}
	stop(&c);
	return r;
}
