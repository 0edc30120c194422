/* See standin.h. */
#include "daemon/session/standin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/pump.h"
#include "libcor/task/procfs.h"
#include "libcor/task/standin.h"

static int read_stat(pid_t pid, struct cor_proc_stat *st)
{
	_cleanup_free_ char *text = NULL;
	char path[40];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = cor_slurp(AT_FDCWD, path, &text, NULL);
	return r < 0 ? r : cor_parse_stat(text, st);
}

/* The place of a task that has come from elsewhere is kept there. */
static bool is_arrival(pid_t parent)
{
	struct cor_proc_stat st;

	return read_stat(parent, &st) == 0 && strcmp(st.comm, "cor-supervisor") == 0;
}

/* cord is our own parent. */
static bool is_missed_by(pid_t parent)
{
	return parent > 1 && parent != getppid();
}

int source_standin_begin(struct source_standin *k, pid_t pid, const struct cor_mechanisms *m,
			 struct cor_error *err)
{
	struct cor_proc_stat st;
	char path[40];
	int r = read_stat(pid, &st);

	if (r < 0)
		return cor_fail_code(err, r, "process %d", (int)pid);
	if (!cor_mechanism_on(m, COR_MECHANISM_STANDIN) || !cor_mechanism_on(m, COR_MECHANISM_PUMP))
		return 0;
	if (!is_missed_by(st.ppid) && !(st.tty && cor_mechanism_on(m, COR_MECHANISM_TERMINALS)))
		return 0;
	if (is_arrival(st.ppid))
		return 0;
	snprintf(k->comm, sizeof(k->comm), "%.15s", st.comm);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	r = cor_slurp(AT_FDCWD, path, &k->args, &k->args_len);
	if (r < 0)
		return cor_fail_code(err, r, "%s", path);
	k->wanted = true;
	return 0;
}

/* ---- signals ------------------------------------------------------------------------------ */

static void know(struct source_standin *k, const ProtobufCBinaryData *pending, size_t n)
{
	siginfo_t *more = realloc(k->known, (k->nknown + n + 1) * sizeof(*more));

	if (!more)
		return;
	k->known = more;
	for (size_t i = 0; i < n; i++)
		if (pending[i].len == sizeof(siginfo_t))
			memcpy(&more[k->nknown++], pending[i].data, sizeof(siginfo_t));
}

void source_standin_left(struct source_standin *k, const Cor__Task__Image *image)
{
	if (!k->wanted)
		return;
	know(k, image->pending, image->n_pending);
	for (size_t i = 0; i < image->n_threads; i++)
		know(k, image->threads[i]->pending, image->threads[i]->n_pending);
}

static bool same(const siginfo_t *a, const siginfo_t *b)
{
	return a->si_signo == b->si_signo && a->si_code == b->si_code && a->si_pid == b->si_pid &&
	       a->si_uid == b->si_uid && a->si_value.sival_ptr == b->si_value.sival_ptr;
}

/* Takes one like it out of list. */
static bool take(siginfo_t *list, unsigned *n, const siginfo_t *like)
{
	for (unsigned i = 0; i < *n; i++) {
		if (!same(&list[i], like))
			continue;
		list[i] = list[--*n];
		return true;
	}
	return false;
}

void source_standin_forward(struct source_standin *k, const struct cor_tracee *ghost, int home)
{
	siginfo_t *now;
	unsigned n;

	if (!k->wanted || cor_standin_pending(ghost, &now, &n, NULL) < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		if (!take(k->known, &k->nknown, &now[i]))
			cor_pump_tell(home, COR_PUMP_FORWARD, 0, &now[i], sizeof(now[i]), -1);
	free(k->known);
	k->known = now;
	k->nknown = n;
}

/* ---- its end ------------------------------------------------------------------------------ */

void source_standin_make(struct source_standin *k, struct cor_tracee *ghost, int home,
			 struct cor_error *err)
{
	struct cor_standin_plan plan = { .comm = k->comm, .args = k->args,
					 .args_len = k->args_len };
	_cleanup_close_ int sock = -1;
	pid_t pid = ghost->pid;

	if (!k->wanted) {
		cor_tracee_kill(ghost);
		return;
	}
	source_standin_forward(k, ghost, home);
	plan.known = k->known;
	plan.nknown = k->nknown;
	if (cor_standin_make(ghost, &plan, &sock, err) == 0)
		cor_pump_tell(home, COR_PUMP_STANDIN, pid, NULL, 0, sock);
}

void source_standin_end(struct source_standin *k)
{
	free(k->args);
	free(k->known);
}
