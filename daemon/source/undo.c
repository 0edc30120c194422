/* What the tracer takes from the task before COMMIT, or tells it, so that another process can undo
 * it should the tracer die: the kernel lets the task go on then, but knows nothing of addresses,
 * silenced connections, names and locks that were given up, and hooks. A file in the state
 * directory says what there may be; cord has it undone (worker_ops.mend). */
#include "daemon/source/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"

#define MAGIC "corundo1"
#define MOST (64u << 20)        /* bytes of a table */
/* The destination must have let go of a name or a lock, where it sees the same. */
#define AGAIN_US 50000u
#define MEND_NS  10000000000ull

struct head {
	char     magic[8];
	struct state_process task;
	struct cor_hooks hooks;
	uint32_t have_hooks;
	uint32_t naddresses;            /* struct cor_address, behind this; then the table */
	uint64_t table_len;
};

static bool is_taken(const Cor__Names__OpenFile *f)
{
	const struct cor_file_ops *ops = cor_file_ops_of(f->kind);

	return f->n_locks || f->kind == COR__NAMES__FILE_KIND__TCP || (ops && ops->park);
}

static bool takes_something(const struct source *s)
{
	unsigned n;

	cor_departure_addresses(s->departure, &n);
	if (s->have_hooks || n)
		return true;
	for (size_t i = 0; s->files && i < s->files->n_files; i++)
		if (is_taken(s->files->files[i]))
			return true;
	return false;
}

/* Of what is known by the table alone. */
static uint64_t digest(const Cor__Names__FileTable *table)
{
	uint64_t d = 0;

	for (size_t i = 0; table && i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];
		const struct cor_file_ops *ops = cor_file_ops_of(f->kind);

		if (ops && ops->park)
			d = d * 31 + f->ino;
		for (size_t k = 0; k < f->n_locks; k++)
			d = d * 31 + f->ino + f->locks[k]->start * 7 + f->locks[k]->len +
			    (uint64_t)f->locks[k]->type;
	}
	return d;
}

static int write_all(const struct source *s, int fd)
{
	static const Cor__Names__FileTable none = COR__NAMES__FILE_TABLE__INIT;
	const Cor__Names__FileTable *table = s->files ?: &none;
	_cleanup_free_ uint8_t *packed = malloc(cor__names__file_table__get_packed_size(table) + 1);
	struct head h = { .magic = MAGIC, .hooks = s->hooks, .have_hooks = s->have_hooks };
	const struct cor_address *addresses = cor_departure_addresses(s->departure, &h.naddresses);
	int r;

	if (!packed)
		return -ENOMEM;
	h.table_len = cor__names__file_table__pack(table, packed);
	state_process_set(&h.task, s->args->pid);
	h.hooks.asked = true;           /* as it will be */
	r = cor_write_full(fd, &h, sizeof(h));
	if (r == 0)
		r = cor_write_full(fd, addresses, h.naddresses * sizeof(*addresses));
	return r < 0 ? r : cor_write_full(fd, packed, h.table_len);
}

int source_undo_note(struct source *s, struct cor_error *err)
{
	_cleanup_close_ int dir = -1, fd = -1;
	int r;

	if (!takes_something(s))
		return 0;
	dir = state_open(s->args->config->state_dir, err);
	if (dir < 0)
		return dir;
	fd = state_undo(dir, s->args->session, true);
	r = fd < 0 ? fd : write_all(s, fd);
	if (r == 0)
		r = state_undo_written(dir, s->args->session);
	s->undo_noted = true;
	s->undo_digest = digest(s->files);
	return r < 0 ? cor_fail_code(err, r, "noting in the state directory what is to be undone") : 0;
}

int source_undo_renew(struct source *s, struct cor_error *err)
{
	return digest(s->files) == s->undo_digest ? 0 : source_undo_note(s, err);
}

static void forget(const struct cord_config *config, const uint8_t session[16])
{
	_cleanup_close_ int dir = state_open(config->state_dir, NULL);

	if (dir >= 0)
		state_undo_remove(dir, session);
}

void source_undo_forget(struct source *s)
{
	if (s->undo_noted)
		forget(s->args->config, s->args->session);
	s->undo_noted = false;
}

/* ---- when it has died ---------------------------------------------------------------------- */

struct undo {
	struct head h;
	struct cor_address *addresses;
	Cor__Names__FileTable *table;
};

static void undo_done(struct undo *u)
{
	free(u->addresses);
	if (u->table)
		cor__names__file_table__free_unpacked(u->table, NULL);
}

static int read_all(int fd, struct undo *u)
{
	_cleanup_free_ uint8_t *packed = NULL;
	int r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : cor_read_full(fd, &u->h, sizeof(u->h));

	if (r < 0)
		return r;
	if (memcmp(u->h.magic, MAGIC, sizeof(u->h.magic)) || u->h.naddresses > COR_ADDRESSES_MAX ||
	    u->h.table_len > MOST)
		return -EPROTO;
	u->addresses = calloc(u->h.naddresses + 1, sizeof(*u->addresses));
	packed = malloc(u->h.table_len + 1);
	if (!u->addresses || !packed)
		return -ENOMEM;
	r = cor_read_full(fd, u->addresses, u->h.naddresses * sizeof(*u->addresses));
	if (r == 0)
		r = cor_read_full(fd, packed, u->h.table_len);
	if (r < 0)
		return r;
	u->table = cor__names__file_table__unpack(NULL, u->h.table_len, packed);
	return u->table ? 0 : -EPROTO;
}

/* The task stands still. Each of them may be as it was, or have been undone before. */
static int undo_all(struct undo *u, struct cor_tracee *t, struct cor_error *err)
{
	int r = cor_departure_mend(t->pid, u->table, u->addresses, u->h.naddresses, err);
	int names = cor_files_unpark(t->pid, u->table, r ? NULL : err), locks;

	/* it was not moved aside */
	r = r ?: names == -ENOENT ? 0 : names;
	locks = cor_files_unpark_locks(t, u->table, NULL, r ? NULL : err);
	r = r ?: locks;
	if (u->h.have_hooks && cor_hooks_cancel(&u->h.hooks, true, r ? NULL : err) == 0)
		u->h.have_hooks = false;
	return r;
}

static int undo_once(struct undo *u, const struct worker_mend_args *a, struct cor_error *err)
{
	pid_t pid = atomic_load(&u->h.task.pid);
	struct cor_tracee *t = NULL;
	int r = cor_tracee_seize(&t, pid, err);

	if (r < 0)
		return r;
	r = cor_tracee_stop(t, (unsigned)a->config->timeouts.freeze_ms, err);
	if (r == 0)
		r = undo_all(u, t, err);
	cor_tracee_thaw(t);
	return r;
}

int session_source_mend(const struct worker_mend_args *a)
{
	uint64_t until = cor_now_ns() + MEND_NS;
	_cleanup_(undo_done) struct undo u = { 0 };
	struct cor_error err = COR_ERROR_INIT;
	_cleanup_close_ int pidfd = -1;
	int r = read_all(a->undo, &u);

	if (r == 0)
		pidfd = state_process_open(&u.h.task);
	/* the task has ended as well */
	if (pidfd == -ESRCH)
		return 0;
	if (r < 0)
		cor_fail_code(&err, r, "what is to be undone");
	while (r == 0) {
		r = undo_once(&u, a, &err);
		if (r == 0 || r == -ESRCH || cor_now_ns() > until)
			break;
		r = 0;
		usleep(AGAIN_US);
	}
	/* a cord that begins anew must not have it undone once more, amid another migration */
	forget(a->config, a->session);
	if (r == -ESRCH)
		return 0;
	if (r < 0)
		cord_log(CORD_LOG_ERROR, a->id, "the task goes on without what was taken from it: %s",
			 err.text);
	else
		cord_log(CORD_LOG_NOTICE, a->id, "the task has back what its migration had taken");
	return r < 0;
}
