/* The tracer's part from COMMIT on, and what it does for that before: it keeps the ghost.
 *
 * The ghost is stopped as long as its tracer lives, and dies with it (PTRACE_O_EXITKILL)
 * rather than run a second time. So this process does as little as can be: it waits for the
 * verdict of the serving part (server.c), kills the ghost, or lets the task
 * go on, as that says, and starts another serving part when one dies. */
#include "daemon/source/source.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* Between serving parts that die at once; see daemon/destination/keeper.c. */
#define PAUSE_FIRST_MS 50u
#define PAUSE_MAX_MS   1000u
#define SIGNALS_MS     20       /* that a signal to the ghost may wait */
#define LIVED_NS       (5 * UINT64_C(1000000000))

static void hand_over(struct source *s, const char *doubt)
{
	json_t *m = json_pack("{s:O, s:I, s:s}", "figures", s->session.figures, "from_ns",
			      (json_int_t)s->freeze_from_ns, "doubt", doubt);

	source_link_say(s->link, m, NULL, 0);
}

/* Named shared memory has moved along: its name here would be a stale copy. */
static void remove_moved_objects(struct source *s)
{
	const Cor__Task__Memory *m = s->image->memory;

	for (size_t i = 0; i < m->n_objects; i++) {
		const Cor__Task__Object *o = m->objects[i];
		char path[PATH_MAX];
		struct stat st;

		if (o->kind != COR__TASK__OBJECT_KIND__OBJECT_TMPFS || o->unlinked)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/root%s", s->args->pid, o->name);
		if (stat(path, &st) == 0 && st.st_ino == o->ino && st.st_dev == o->dev)
			unlink(path);
	}
}

static void kill_ghost(struct source *s)
{
	cor_tracee_kill(s->tracee);
	s->tracee = NULL;
}

/* Carries a verdict out. True: it was the last one. */
static bool obey(struct source *s, const char *verdict)
{
	struct cor_error unused;

	if (strcmp(verdict, "joined") == 0) {
		source_bury(s);
		return false;
	}
	source_reach_end(s);
	if (strcmp(verdict, "refused") == 0) {
		source_thaw(s);
		source_pumps_drop(&s->pumps);
		atomic_store(&s->session.page->let_go, 0);
		if (s->have_hooks)
			cor_hooks_cancel(&s->hooks, false, NULL);
		source_undo_forget(s);
		s->end = SESSION_ABORTED;
	} else if (strcmp(verdict, "moved") == 0) {
		source_bury(s);
		remove_moved_objects(s);
		source_standin_make(&s->standin, take_ptr(s->tracee), s->pumps.home, &unused);
		source_home_released(s);
		s->end = SESSION_RELEASED;
	} else if (strcmp(verdict, "lost") == 0) {
		kill_ghost(s);
		/* those outside see that the task has ended */
		source_pumps_thaw(&s->pumps);
		source_pumps_drop(&s->pumps);
		s->end = SESSION_LOST;
	} else {
		return false;   /* that it serves, said late */
	}
	source_link_say(s->link, json_object(), NULL, 0);
	return true;
}

/* Packets for addresses that have moved along are sent on meanwhile, and signals to the
 * ghost, which no descriptor tells of. */
static void await_word(struct source *s)
{
	for (;;) {
		struct pollfd p[2 + COR_PACKET_HOLD_FDS] = {
			{ .fd = s->link, .events = POLLIN },
			{ .fd = source_reach_fd(s), .events = POLLIN },
		};
		nfds_t held = s->departure && !s->parked ?
			      cor_departure_poll(s->departure, &p[2]) : 0;
		bool forwarding = s->standin.wanted && !s->parked;

		if (poll(p, 2 + held, forwarding ? SIGNALS_MS : -1) < 0 && errno != EINTR)
			return;
		if (forwarding)
			source_standin_forward(&s->standin, s->tracee, s->pumps.home);
		if (held)
			source_network_forward(s);
		if (p[1].revents)
			source_reach_obey(s);
		if (p[0].revents)
			return;
	}
}

/* Until its verdict, or its end. */
static bool attend(struct source *s)
{
	for (;;) {
		json_auto_t *m = NULL;

		await_word(s);
		if (source_link_hear(s->link, &m, NULL, NULL) < 0)
			return false;
		if (obey(s, json_string_value(json_object_get(m, "verdict")) ?: ""))
			return true;
	}
}

static int reap_server(struct source *s)
{
	int status = 0;

	while (waitpid(s->server_pid, &status, 0) < 0 && errno == EINTR)
		;
	s->server_pid = 0;
	close(s->link);
	s->link = -1;
	return status;
}

static void start_another(struct source *s, const char *doubt, int status)
{
	struct cor_error err = COR_ERROR_INIT;
	enum session_state state = (enum session_state)atomic_load(&s->session.page->state);

	source_reach_end(s);
	cord_log(CORD_LOG_WARNING, s->args->id, "the page server has ended (wait status %#x); "
		 "another one goes on", (unsigned)status);
	if (session_state_resumed(state))
		source_bury(s);
	if (source_fork_server(s, true, &err) < 0 || source_await_serving(s, &err) < 0) {
		cord_log(CORD_LOG_ERROR, s->args->id, "%s", err.text);
		return;
	}
	hand_over(s, session_state_resumed(state) ? "" : doubt[0] ? doubt :
		  "the page server ended while the commit was on its way");
}

/* The serving part died between its verdict and its last words. */
static int say_for_it(struct source *s)
{
	struct cor_error err = COR_ERROR_INIT;
	int code = s->end == SESSION_RELEASED ? 0 : s->end == SESSION_ABORTED ? 1 : 3;

	s->session.state = s->end;
	atomic_store(&s->session.page->state, s->end);
	cor_fail(&err, -EIO, "the page server has died");
	session_result(&s->session, code, code ? &err : NULL);
	return code;
}

int source_keep(struct source *s, const char *doubt)
{
	unsigned pause_ms = 0;
	int status;

	hand_over(s, doubt);
	session_leave_cord(&s->session);
	for (;;) {
		uint64_t since = cor_now_ns();
		bool over = s->link >= 0 && attend(s);

		status = s->server_pid > 0 ? reap_server(s) : 0;
		if (over)
			break;
		if (cor_now_ns() - since > LIVED_NS)
			pause_ms = 0;
		usleep(pause_ms * 1000);
		pause_ms = pause_ms ? COR_MIN(pause_ms * 2, PAUSE_MAX_MS) : PAUSE_FIRST_MS;
		start_another(s, doubt, status);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : say_for_it(s);
}
