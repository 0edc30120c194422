/* A task moved inside one process tree; see clone_fixture.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/clone_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "tests/stream.h"

#define OK(call) do { \
	if ((call) < 0) \
		fail_msg("%s: %s", #call, err.text); \
} while (0)

/* In the stub, whose memory is a copy of ours: the table needs no carrying over. */
static int restore_files(void *arg, uint32_t op, const void *buf, size_t len, const int *fds,
			 unsigned nfds, struct cor_error *err)
{
	struct clone *c = arg;

	return cor_files_restore(c->files, fds, nfds, c->plan.max_fd + 1, err);
}

int clone_setup(void **state)
{
	struct clone *c = calloc(1, sizeof(*c));

	*state = c;
	strcpy(c->dir, "/tmp/cor-clone-XXXXXX");
	if (!mkdtemp(c->dir) || cor_open(&c->ctx, NULL) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->report) < 0)
		return -1;
	c->plan.force_pid_ns = true;
	c->plan.call = restore_files;
	c->plan.arg = c;
	c->plan.max_fd = 1023;
	c->plan.report = c->report[1];
	c->plan.tty = c->plan.watch = c->plan.listen = c->plan.record = -1;
	c->inline_written_max = 64;
	c->bulk = true;
	return 0;
}

int clone_teardown(void **state)
{
	struct clone *c = *state;
	char command[128];

	if (c->task)
		kill(c->task, SIGKILL);
	cor_rebuild_abort(c->rb);
	cor_pager_free(c->pager);
	cor_page_server_free(c->server);
	if (c->tracee)
		cor_tracee_kill(c->tracee);
	else if (c->pid)
		kill(c->pid, SIGKILL);
	if (c->pid)
		waitpid(c->pid, NULL, 0);
	for (unsigned i = 0; i < c->nobjects; i++)
		close(c->objects[i]);
	if (c->skeleton)
		cor__task__image__free_unpacked(c->skeleton, NULL);
	if (c->image)
		cor__task__image__free_unpacked(c->image, NULL);
	if (c->files)
		cor__names__file_table__free_unpacked(c->files, NULL);
	close(c->report[0]);
	cor_closep(&c->report[1]);
	cor_close(c->ctx);
	snprintf(command, sizeof(command), "rm -rf --one-file-system %s", c->dir);
	if (system(command))
		fprintf(stderr, "%s remains\n", c->dir);
	free(c);
	return 0;
}

static char *output(struct clone *c)
{
	char path[96], *text = NULL;

	snprintf(path, sizeof(path), "%s/out", c->dir);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		text = strdup("");
	return text;
}

static unsigned rounds(struct clone *c)
{
	_cleanup_free_ char *text = NULL;
	char path[96];

	snprintf(path, sizeof(path), "%s/beat", c->dir);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return 0;
	return (unsigned)atoi(text);
}

static void in_child(struct clone *c, const char *name, const char *const *argv)
{
	const char *args[16] = { name, "-p" };
	char path[4096], beat[96];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	unsigned k = 3;
	int fd;

	path[n > 0 ? n : 0] = 0;
	strcpy(path, dirname(dirname(path)));
	strcat(path, "/programs/");
	strcat(path, name);
	snprintf(beat, sizeof(beat), "%s/beat", c->dir);
	args[2] = beat;
	for (; argv && *argv && k < 15; argv++)
		args[k++] = *argv;
	/* a session of its own, without descriptors of ours */
	setsid();
	if (chdir(c->dir) < 0)
		_exit(9);
	fd = open("out", O_RDWR | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	dup2(open("/dev/null", O_RDONLY), 0);
	close_range(3, ~0u, 0);
	execv(path, (char **)args);
	_exit(9);
}

void clone_start(struct clone *c, const char *name, const char *const *argv)
{
	c->pid = fork();
	if (c->pid == 0)
		in_child(c, name, argv);
	for (int i = 0; i < 3000; i++) {
		int status;

		if (rounds(c) >= 2)
			return;
		if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
			_cleanup_free_ char *text = output(c);

			c->pid = 0;
			print_message("%s: %s\n", name, text);
			if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
				skip();
			fail_msg("%s ended with status %#x", name, (unsigned)status);
		}
		usleep(10000);
	}
	fail_msg("%s does not begin", name);
}

/* The task's end before its time, with what it said. */
static void check_alive(struct clone *c)
{
	struct pollfd p = { .fd = c->report[0], .events = POLLIN };
	_cleanup_free_ char *text = NULL;
	struct cor_rebuild_exit e;

	if (!c->task || poll(&p, 1, 0) != 1)
		return;
	text = output(c);
	if (cor_read_full(c->report[0], &e, sizeof(e)) == 0)
		fail_msg("the task ended with status %#x: %s", (unsigned)e.status, text);
	fail_msg("the supervisor ended: %s", text);
}

void clone_await_rounds(struct clone *c, unsigned n)
{
	unsigned from = rounds(c);

	for (int i = 0; i < 3000; i++) {
		unsigned now = rounds(c);

		/* the file is written anew each time, so it may be seen empty */
		if (now >= from + n)
			return;
		check_alive(c);
		usleep(10000);
	}
	if (c->task) {
		char command[160];

		snprintf(command, sizeof(command), "cat /proc/%d/task/*/stat /proc/%d/task/*/syscall >&2",
			 c->task, c->task);
		if (system(command))
			print_message("(no state)\n");
	}
	fail_msg("the task does not go on behind round %u", from);
}

/* --- the source's part ------------------------------------------------------------ */

/* -EAGAIN says that a short-lived child was in the way, as it does to a session. */
static void stop_and_capture(struct clone *c, const struct cor_capture_options *o)
{
	struct cor_error err = COR_ERROR_INIT;
	int r = -EAGAIN;

	for (int i = 0; i < 500 && r == -EAGAIN; i++) {
		if (!c->skeleton)
			r = cor_capture_skeleton(c->pid, o, &c->skeleton, &err);
		if (c->skeleton) {
			OK(cor_tracee_seize(&c->tracee, c->pid, &err));
			OK(cor_tracee_stop(c->tracee, 5000, &err));
			r = cor_capture_image(c->tracee, o, c->skeleton, &c->image, &err);
			if (r == -EAGAIN)
				cor_tracee_thaw(take_ptr(c->tracee));
		}
		if (r == -EAGAIN)
			usleep(1000);
	}
	OK(r);
}

static void capture(struct clone *c)
{
	struct cor_capture_options o = { .inline_written_max = c->inline_written_max };
	struct cor_files_object *extra = NULL, *known;
	struct cor_error err = COR_ERROR_INIT;
	unsigned nextra = 0;
	size_t n;

	stop_and_capture(c, &o);
	OK(cor_capture_complete(c->image, c->skeleton, &err));
	n = c->image->memory->n_objects;
	known = calloc(n + 1, sizeof(*known));
	for (size_t i = 0; i < n; i++) {
		const Cor__Task__Object *object = c->image->memory->objects[i];

		known[i] = (struct cor_files_object){ object->dev, object->ino, object->id };
	}
	OK(cor_files_capture(c->pid, true, known, (unsigned)n, &extra, &nextra, &c->files, &err));
	free(known);
	free(extra);
	assert_int_equal(nextra, 0);
	OK(cor_files_park(c->pid, c->files, true, &err));
	OK(cor_tracee_make_ghost(c->tracee, &err));
}

static void serve(struct clone *c)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_source *source;

	OK(cor_source_process(&source, c->pid, &err));
	for (unsigned i = 0; i < c->image->memory->n_objects; i++) {
		int fd = cor_capture_open_object(c->pid, c->image, i + 1, &err);

		OK(fd);
		OK(cor_source_process_add_object(source, (uint16_t)(i + 1), fd, &err));
	}
	OK(cor_page_server_new(&c->server, source, &err));
}

/* --- the destination's part ------------------------------------------------------- */

static void make_objects(struct clone *c)
{
	const Cor__Task__Memory *m = c->image->memory;
	struct cor_error err = COR_ERROR_INIT;

	assert_true(m->n_objects <= ARRAY_SIZE(c->objects));
	for (size_t i = 0; i < m->n_objects; i++) {
		off_t at = 0;
		int from;

		OK(c->objects[i] = cor_rebuild_make_object(m->objects[i], &err));
		c->nobjects++;
		if (!m->objects[i]->has_descriptor)
			continue;
		OK(from = cor_capture_open_object(c->pid, c->image, (uint32_t)i + 1, &err));
		while (sendfile(c->objects[i], from, &at, 1u << 20) > 0)
			;
		close(from);
		lseek(c->objects[i], 0, SEEK_SET);
		OK(cor_rebuild_seal_object(m->objects[i], c->objects[i], &err));
	}
}

static void add_lane(struct clone *c, enum cor_connection_kind kind)
{
	struct cor_error err = COR_ERROR_INIT;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	OK(cor_page_server_add_lane(c->server, stream_of(s[0]), kind, &err));
	OK(cor_pager_add_lane(c->pager, stream_of(s[1]), kind, &err));
}

static void start_pager(struct clone *c, const struct cor_region *regions, unsigned n)
{
	struct cor_error err = COR_ERROR_INIT;

	OK(cor_pager_new(&c->pager, c->ctx, &err));
	for (unsigned i = 0; i < n; i++)
		OK(cor_pager_add_region(c->pager, &regions[i], &err));
	add_lane(c, COR_CONN_DEMAND);
	if (c->bulk)
		add_lane(c, COR_CONN_BULK);
	OK(cor_pager_start(c->pager, cor_rebuild_take_uffd(c->rb), &err));
	for (size_t i = 0; i < c->image->n_eager; i++)
		OK(cor_pager_install(c->pager, c->image->eager[i]->addr,
				     c->image->eager[i]->data.data,
				     c->image->eager[i]->data.len, &err));
	cor_pager_hint(c->pager, c->image->hints, (unsigned)c->image->n_hints);
}

void clone_move(struct clone *c)
{
	_cleanup_free_ struct cor_region *regions = NULL;
	_cleanup_free_ bool *ok = NULL;
	struct cor_error err = COR_ERROR_INIT;
	unsigned nregions = 0;

	capture(c);
	serve(c);
	c->plan.skeleton = c->skeleton;
	OK(cor_rebuild_begin(&c->rb, &c->plan, &err));
	close(take_fd(&c->report[1]));
	make_objects(c);
	OK(cor_rebuild_call(c->rb, 1, NULL, 0, c->objects, c->nobjects, &err));
	ok = calloc(c->image->memory->n_files + 1, sizeof(*ok));
	OK(cor_rebuild_check_files(c->image->memory, ok, &err));
	if (c->without_files)
		memset(ok, 0, c->image->memory->n_files * sizeof(*ok));
	OK(cor_rebuild_memory(c->rb, c->image, ok, c->objects, c->nobjects, &regions, &nregions, &err));
	start_pager(c, regions, nregions);
	OK(cor_rebuild_threads(c->rb, c->image, &err));
	OK(cor_rebuild_resume(c->rb, &c->let_go, &err));
	c->task = cor_rebuild_pid(c->rb);
	cor_pager_prefetch(c->pager, c->bulk);
}

void clone_drain(struct clone *c)
{
	struct cor_error why = COR_ERROR_INIT, err = COR_ERROR_INIT;
	int status;

	for (;;) {
		struct pollfd p = { .fd = cor_pager_event_fd(c->pager), .events = POLLIN };
		enum cor_pager_state s = cor_pager_state(c->pager, &why);
		uint64_t n;

		if (s == COR_PAGER_DRAINED)
			break;
		check_alive(c);
		if (s != COR_PAGER_PAGING)
			fail_msg("the pager is in state %d: %s", (int)s, why.text);
		if (poll(&p, 1, 30000) != 1)
			fail_msg("the drain does not end");
		if (read(p.fd, &n, sizeof(n)) < 0)
			continue;
	}
	OK(cor_pager_finish(c->pager, &err));
	/* the last holder of the userfaultfd: what waits for an event goes on now */
	OK(cor_rebuild_release(c->rb, &err));
	c->rb = NULL;
	cor_page_server_free(c->server);
	c->server = NULL;
	cor_tracee_kill(c->tracee);
	c->tracee = NULL;
	waitpid(c->pid, &status, 0);
	c->pid = 0;
}

void clone_finish(struct clone *c)
{
	struct pollfd p = { .fd = c->report[0], .events = POLLIN };
	struct cor_error err = COR_ERROR_INIT;
	_cleanup_free_ char *text = NULL;
	struct cor_rebuild_exit e;

	assert_int_equal(kill(c->task, SIGTERM), 0);
	if (poll(&p, 1, 30000) != 1)
		fail_msg("the task does not end");
	text = output(c);
	assert_int_equal(cor_read_full(c->report[0], &e, sizeof(e)), 0);
	if (e.status)
		fail_msg("the task ended with status %#x: %s", (unsigned)e.status, text);
	c->task = 0;
	if (c->rb)
		OK(cor_rebuild_release(c->rb, &err));
	c->rb = NULL;
}
