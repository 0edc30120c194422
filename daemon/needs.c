/* Residual dependencies; see needs.h. */
#include "daemon/needs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/home/home.h"
#include "libcor/names/home/plan.h"

static bool has_role(const json_t *o, const char *role)
{
	const char *is = json_string_value(json_object_get(o, "role"));

	return is && strcmp(is, role) == 0;
}

/* What the processes of that role have written; what dead ones have left is removed. */
static json_t *read_all(const char *state_dir, const char *role)
{
	_cleanup_closedir_ DIR *dir = NULL;
	json_t *list = json_array();
	struct dirent *d;
	char path[300];

	snprintf(path, sizeof(path), "%.250s/home", state_dir);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		size_t len = strlen(d->d_name);
		json_t *o;
		int fd;

		if (len < 5 || strcmp(d->d_name + len - 5, ".json") != 0)
			continue;
		fd = openat(dirfd(dir), d->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		o = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
		cor_closep(&fd);
		if (o && kill((pid_t)json_integer_value(json_object_get(o, "server")), 0) < 0 &&
		    errno == ESRCH) {
			unlinkat(dirfd(dir), d->d_name, 0);
			json_decref(o);
			continue;
		}
		if (o && has_role(o, role))
			json_array_append_new(list, o);
		else
			json_decref(o);
	}
	return list;
}

json_t *needs_served(const char *state_dir)
{
	return read_all(state_dir, "home");
}

/* The trees of homes that a task sees, by the device numbers of their mounts. */
static void add_files(json_t *needs, pid_t pid, const json_t *trees)
{
	_cleanup_free_ char *text = NULL;
	char path[40], *line, *rest = NULL;
	const json_t *tree;
	size_t i;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	if (!json_array_size(trees) || cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct cor_mount_line m;
		char dev[32];

		if (cor_parse_mount(line, &m) < 0 || strcmp(m.type, COR_HOME_FSTYPE) != 0)
			continue;
		snprintf(dev, sizeof(dev), "%u:%u", major(m.dev), minor(m.dev));
		json_array_foreach(trees, i, tree) {
			const char *is = json_string_value(json_object_get(tree, "dev"));
			json_t *need;

			if (!is || strcmp(is, dev) != 0)
				continue;
			need = json_deep_copy(tree);
			json_object_del(need, "role");
			json_object_set_new(need, "what", json_string("files"));
			json_object_set_new(need, "at", json_string(m.point));
			json_array_append_new(needs, need);
		}
	}
}

/* Its pages are on their way still. */
static void add_memory(json_t *needs, pid_t pid, const json_t *sessions)
{
	const json_t *s;
	size_t i;

	json_array_foreach(sessions, i, s) {
		const char *state = json_string_value(json_object_get(s, "state"));

		if (!has_role(s, "destination") || !state || strcmp(state, "paging") != 0 ||
		    json_integer_value(json_object_get(s, "destination_pid")) != pid)
			continue;
		json_array_append_new(needs, json_pack("{s:s, s:O?, s:O?, s:O?}", "what", "memory",
						       "host", json_object_get(s, "source"),
						       "pages", json_object_get(s, "pages"),
						       "pages_total", json_object_get(s, "pages_total")));
	}
}

static bool is_here(const json_t *need, const struct cord_config *config)
{
	const char *host = json_string_value(json_object_get(need, "host"));

	return host && strcmp(host, config->name) == 0;
}

/* What leads to other processes, which the task's pumps have written down. here: those of
 * this host, too. */
static void add_pumps(json_t *needs, pid_t pid, const struct cord_config *config, bool here)
{
	char path[sizeof(config->control) + 8], begins[32];
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;

	cord_config_pumps(config, path, sizeof(path));
	dir = opendir(path);
	snprintf(begins, sizeof(begins), "status.%d.", (int)pid);
	while (dir && (d = readdir(dir))) {
		json_t *need;
		int fd;

		if (strncmp(d->d_name, begins, strlen(begins)) != 0 || strstr(d->d_name, ".new"))
			continue;
		fd = openat(dirfd(dir), d->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		need = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
		cor_closep(&fd);
		if (need && kill((pid_t)json_integer_value(json_object_get(need, "pump")), 0) < 0 &&
		    errno == ESRCH)
			unlinkat(dirfd(dir), d->d_name, 0);
		else if (need && json_array_size(json_object_get(need, "leads_to")) &&
			 (here || !is_here(need, config))) {
			json_object_del(need, "pid");
			json_object_set_new(need, "what", json_string("processes"));
			json_array_append(needs, need);
		}
		json_decref(need);
	}
}

void needs_add(json_t *tasks, const json_t *sessions, const struct cord_config *config)
{
	json_t *trees = read_all(config->state_dir, "away"), *task;
	size_t i;

	json_array_foreach(tasks, i, task) {
		const char *state = json_string_value(json_object_get(task, "state"));
		pid_t pid = (pid_t)json_integer_value(json_object_get(task, "pid"));
		json_t *needs;

		if (!state || strcmp(state, "running") != 0 || pid <= 0)
			continue;
		needs = json_array();
		add_memory(needs, pid, sessions);
		add_files(needs, pid, trees);
		add_pumps(needs, pid, config, false);
		json_object_set_new(task, "needs", needs);
	}
	json_decref(trees);
}

json_t *needs_remaining(pid_t pid, const json_t *sessions, const struct cord_config *config)
{
	json_t *trees = read_all(config->state_dir, "away"), *remains = json_array();

	add_memory(remains, pid, sessions);
	add_files(remains, pid, trees);
	add_pumps(remains, pid, config, true);
	json_decref(trees);
	return remains;
}
