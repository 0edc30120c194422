/* Children, shared memory and scratch files for the tests of libcor/names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files_fixture.h"

#define KEEP_FROM 400
#define MAX_CHILDREN 16
#define MAX_TABLES 16

static struct shared {
	char broken[256];
	int  rc;
	struct cor_error err;
} *shared;
static pid_t children[MAX_CHILDREN];
static Cor__Names__FileTable *tables[MAX_TABLES];
static char scratch[64];

void fixture_broken(const char *file, int line, const char *what)
{
	snprintf(shared->broken, sizeof(shared->broken), "%s:%d: %s (errno %d)", file, line, what,
		 errno);
	_exit(1);
}

int fixture_setup(void **state)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	snprintf(scratch, sizeof(scratch), "/tmp/cor-files.XXXXXX");
	return shared == MAP_FAILED || !mkdtemp(scratch) ? -1 : 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int fixture_teardown(void **state)
{
	for (unsigned i = 0; i < MAX_CHILDREN; i++) {
		if (children[i] > 0) {
			kill(children[i], SIGKILL);
			waitpid(children[i], NULL, 0);
		}
		children[i] = 0;
	}
	for (unsigned i = 0; i < MAX_TABLES; i++) {
		cor__names__file_table__free_unpacked(tables[i], NULL);
		tables[i] = NULL;
	}
	nftw(scratch, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	munmap(shared, sizeof(*shared));
	return 0;
}

const char *fixture_path(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	return path;
}

static void remember_child(pid_t pid)
{
	for (unsigned i = 0; i < MAX_CHILDREN; i++) {
		if (!children[i]) {
			children[i] = pid;
			return;
		}
	}
	fail_msg("too many children");
}

static void forget_child(pid_t pid)
{
	for (unsigned i = 0; i < MAX_CHILDREN; i++)
		if (children[i] == pid)
			children[i] = 0;
}

static pid_t fork_child(void)
{
	pid_t pid;

	shared->broken[0] = 0;
	shared->rc = 0;
	pid = fork();
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	else if (pid > 0)
		remember_child(pid);
	else
		fail_msg("fork: %s", strerror(errno));
	return pid;
}

struct subject subject_start(void (*setup)(void), void (*after)(void))
{
	struct subject s = { .pid = fork_child() };
	int status;

	if (s.pid == 0) {
		close_range(0, ~0u, 0);
		setup();
		raise(SIGSTOP);
		if (after)
			after();
		_exit(0);
	}
	assert_int_equal(waitpid(s.pid, &status, WUNTRACED), s.pid);
	if (!WIFSTOPPED(status)) {
		forget_child(s.pid);
		fail_msg("the subject's setup: %s", shared->broken);
	}
	return s;
}

static void reap(pid_t pid, const char *who)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	forget_child(pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s: status %#x: %s", who, (unsigned)status, shared->broken);
}

void subject_finish(struct subject *s)
{
	kill(s->pid, SIGCONT);
	reap(s->pid, "the subject");
}

void subject_kill(struct subject *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	forget_child(s->pid);
}

static void remember_table(Cor__Names__FileTable *table)
{
	for (unsigned i = 0; i < MAX_TABLES; i++) {
		if (!tables[i]) {
			tables[i] = table;
			return;
		}
	}
	fail_msg("too many tables");
}

/* Traced, as a task that is frozen is. */
static int try_capture(const struct subject *s, Cor__Names__FileTable **table,
		       struct cor_error *err)
{
	struct cor_files_object *extra = NULL;
	unsigned nextra = 0;
	int rc;

	assert_int_equal(ptrace(PTRACE_SEIZE, s->pid, 0, 0), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, s->pid, 0, 0), 0);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	rc = cor_files_capture(s->pid, true, NULL, 0, &extra, &nextra, table, err);
	assert_int_equal(ptrace(PTRACE_DETACH, s->pid, 0, 0), 0);
	free(extra);
	return rc;
}

Cor__Names__FileTable *capture(const struct subject *s)
{
	Cor__Names__FileTable *table = NULL;
	struct cor_error err = COR_ERROR_INIT;
	int rc = try_capture(s, &table, &err);

	if (rc < 0)
		fail_msg("capture: %d: %s", rc, err.text);
	remember_table(table);
	return table;
}

static const char *capture_fails(const struct subject *s, int code)
{
	Cor__Names__FileTable *table = NULL;
	static struct cor_error err;
	int rc;

	err = (struct cor_error)COR_ERROR_INIT;
	rc = try_capture(s, &table, &err);
	if (rc == 0)
		remember_table(table);
	assert_int_equal(rc, code);
	assert_null(table);
	return err.text;
}

const char *capture_refused(const struct subject *s)
{
	return capture_fails(s, -EOPNOTSUPP);
}

static void run_stub(const Cor__Names__FileTable *table, const int *objects, unsigned nobjects,
		     void (*verify)(void))
{
	shared->rc = cor_files_restore(table, objects, nobjects, KEEP_FROM, &shared->err);
	if (shared->rc == 0 && verify)
		verify();
	_exit(0);
}

void restore_and(const Cor__Names__FileTable *table, void (*verify)(void))
{
	restore_with_objects(table, NULL, 0, verify);
}

void restore_with_objects(const Cor__Names__FileTable *table, const int *objects,
			  unsigned nobjects, void (*verify)(void))
{
	pid_t pid = fork_child();

	if (pid == 0)
		run_stub(table, objects, nobjects, verify);
	reap(pid, "the stub");
	if (shared->rc < 0)
		fail_msg("restore: %d: %s", shared->rc, shared->err.text);
}

const char *restore_refused(const Cor__Names__FileTable *table, int code)
{
	pid_t pid = fork_child();

	if (pid == 0)
		run_stub(table, NULL, 0, NULL);
	reap(pid, "the stub");
	assert_int_equal(shared->rc, code);
	return shared->err.text;
}

void round_trip(void (*setup)(void), void (*verify)(void))
{
	struct subject s = subject_start(setup, NULL);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;
	int rc;

	subject_kill(&s);
	rc = cor_files_check(table, NULL, NULL, &err);
	if (rc < 0)
		fail_msg("check: %d: %s", rc, err.text);
	restore_and(table, verify);
}

const char *refusal_of(void (*setup)(void))
{
	struct subject s = subject_start(setup, NULL);

	return capture_refused(&s);
}

const char *delay_of(void (*setup)(void))
{
	struct subject s = subject_start(setup, NULL);

	return capture_fails(&s, -EAGAIN);
}

void assert_mentions(const char *sentence, const char *part)
{
	if (!strstr(sentence, part))
		fail_msg("\"%s\" does not mention \"%s\"", sentence, part);
}
