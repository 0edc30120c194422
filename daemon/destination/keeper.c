/* The keeper: between cord and the worker that receives a task and pages for it.
 *
 * It starts the worker, shares its table of descriptors (clone(2), CLONE_FILES), and does
 * nothing else until the worker ends. So when a worker is killed, at whatever instruction,
 * no descriptor is closed: neither the task's userfaultfd nor that of a child, which the
 * kernel made for the worker's read(2) the moment before; the task waits, and never sees
 * zeros. A task that was not let go yet is killed with its worker, and the session is
 * aborted. For one that was, the keeper closes what nobody needs any more and starts
 * another worker, which goes on from the journal (retake.c).
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/record.h"
#include "daemon/destination/destination.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/spawn.h"

/* Workers that die at once are not started anew at once: from the first pause to the
 * longest. One that lived for a while is no such. */
#define PAUSE_FIRST_MS 50u
#define PAUSE_MAX_MS   1000u
#define LIVED_NS       (5 * UINT64_C(1000000000))

static struct arrival *new_arrival(void)
{
	struct arrival *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED)
		return NULL;
	s->page = s->listen = s->journal = s->ctl = s->pidfd = -1;
	destination_pumps_share_init(&s->pumps);
	return s;
}

/* Its exit status, or -1 with how it died in *status. */
static int run_worker(const struct worker_destination_args *a, struct arrival *s, bool again,
		      int *status)
{
	pid_t pid = cor_fork_as(CLONE_FILES, 0, false);

	if (pid == 0) {
		prctl(PR_SET_NAME, "cord-pager");
		_exit(again ? destination_retake(a, s) : destination_receive(a, s));
	}
	if (pid < 0)
		return 1;
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
}

/* ---- descriptors ----------------------------------------------------------------------- */

static bool is_uffd(int dir, const char *fd)
{
	char what[64];
	ssize_t n = readlinkat(dir, fd, what, sizeof(what) - 1);

	what[COR_MAX(n, 0)] = 0;
	return strstr(what, "[userfaultfd]") != NULL;
}

static bool is_kept(const struct arrival *s, int fd)
{
	const int keep[] = { s->page, s->listen, s->journal, s->ctl, s->pidfd, s->pumps.watch };

	for (unsigned i = 0; i < ARRAY_SIZE(keep); i++)
		if (fd == keep[i])
			return true;
	for (unsigned i = 0; i < DESTINATION_PUMPS_SHARED; i++)
		if (fd == s->pumps.socks[i])
			return true;
	return false;
}

/* All that the worker had, but for what the next one goes on with. */
static void close_others(const struct arrival *s)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name);
		bool kept = e->d_name[0] == '.' || fd <= STDERR_FILENO || fd == dirfd(d) ||
			    is_kept(s, fd);

		if (!kept && !is_uffd(dirfd(d), e->d_name))
			close(fd);
	}
}

/* ---- a worker that died -------------------------------------------------------------------- */

/* The stub dies with its tracer; seen before anybody is told that the task never ran. */
static void await_stub(const struct arrival *s)
{
	struct pollfd p = { .fd = s->pidfd, .events = POLLIN };

	if (p.fd < 0)
		return;
	pidfd_send_signal(p.fd, SIGKILL, NULL, 0);
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

static void settle_aborted(const struct worker_destination_args *a, const struct arrival *s,
			   struct state_page *page, int status)
{
	_cleanup_close_ int dir = state_open(a->config->state_dir, NULL);
	char why[96];

	await_stub(s);
	state_remove(dir, STATE_TASK, page->session);
	snprintf(why, sizeof(why), "the worker ended unexpectedly, signal %d (%s)",
		 WTERMSIG(status), strsignal(WTERMSIG(status)));
	state_page_end(page, json_pack("{s:b, s:i, s:s, s:s}", "ok", 0, "exit", 1, "state",
				       session_state_name(SESSION_ABORTED), "error", why));
	atomic_store(&page->state, SESSION_ABORTED);
}

static void log_death(const struct state_page *page, int status)
{
	char id[33];

	hex_encode(id, page->session, sizeof(page->session));
	cord_log(CORD_LOG_WARNING, id, "the pager was ended by signal %d (%s); another one goes on",
		 WTERMSIG(status), strsignal(WTERMSIG(status)));
}

/* Whether another worker is to go on. */
static bool settle(const struct worker_destination_args *a, const struct arrival *s, int status)
{
	struct state_page *page = NULL;
	bool on;

	if (s->page < 0 || state_page_map(s->page, &page) < 0)
		return false;
	on = atomic_load(&page->let_go) &&
	     !session_state_final((enum session_state)atomic_load(&page->state));
	if (on)
		log_death(page, status);
	else if (!atomic_load(&page->let_go))
		settle_aborted(a, s, page, status);
	state_page_unmap(page);
	return on;
}

static void pause_before(unsigned *ms, uint64_t started_ns)
{
	if (cor_now_ns() - started_ns > LIVED_NS)
		*ms = 0;
	usleep(*ms * 1000);
	*ms = *ms ? COR_MIN(*ms * 2, PAUSE_MAX_MS) : PAUSE_FIRST_MS;
}

int session_destination_run(const struct worker_destination_args *a)
{
	struct arrival *s = new_arrival();
	unsigned pause_ms = 0;
	bool again = false;

	if (!s)
		return 1;
	for (;; again = true) {
		uint64_t started = cor_now_ns();
		int status = 0, code = run_worker(a, s, again, &status);

		if (code >= 0)
			return code;
		if (!settle(a, s, status))
			return 1;
		close_others(s);
		pause_before(&pause_ms, started);
	}
}
