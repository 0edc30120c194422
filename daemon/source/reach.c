/* One-sided demand at the source: the destination reads the ghost's memory itself, by an
 * adapter with which the ghost has registered it.
 *
 * The serving part has adapter and queue pair, but not the memory; the ghost has the memory,
 * and runs no more. So its tracer has it make the one call that registers a piece
 * (libcor/task/ghost.h), as the serving part asks over a socket of their own. Only from RESUMED
 * on: before that the ghost may become the task again. */
#include "daemon/source/source.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/log.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

enum ask_kind {
	ASK_GIVE = 1,           /* with a descriptor: for the ghost */
	ASK_CALL,               /* the ghost is to make a call on it */
};

/* Serving part to tracer, and back. */
struct ask {
	uint32_t kind;
	int32_t  code;          /* back: 0 or -errno */
	uint64_t at;            /* back, GIVE: the address of blocks in the ghost's memory */
	struct cor_rdma_foreign block;
};

/* ---- the tracer ------------------------------------------------------------------------- */

/* The serving part is not to have the ghost make calls on anything else. */
static bool is_adapter(int fd)
{
	char path[64], target[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strstr(target, "/infiniband_verbs/");
}

static void obey(struct source *s, struct ask *a, int fd)
{
	struct cor_error err = COR_ERROR_INIT;

	a->code = -EINVAL;
	if (a->kind == ASK_GIVE && fd >= 0 && s->ghost.fd < 0) {
		a->code = is_adapter(fd) ? cor_ghost_give(&s->ghost, s->tracee, fd, &err) : -ENODEV;
		a->at = s->ghost.at;
	} else if (a->kind == ASK_CALL && s->ghost.fd >= 0) {
		a->code = cor_ghost_ioctl(&s->ghost, COR_RDMA_FOREIGN_REQUEST, &a->block,
					  sizeof(a->block), &err);
	}
	if (a->kind == ASK_GIVE && a->code < 0)
		cord_log(CORD_LOG_WARNING, s->args->id, "no one-sided demand: %s",
			 err.text[0] ? err.text : strerror(-a->code));
}

int source_reach_fd(const struct source *s)
{
	enum session_state state = (enum session_state)atomic_load(&s->session.page->state);

	return session_state_resumed(state) ? s->reach_link : -1;
}

void source_reach_obey(struct source *s)
{
	int fds[1] = { -1 };
	unsigned n = 1;
	struct ask a;
	ssize_t len = cor_recv_fds(s->reach_link, &a, sizeof(a), fds, &n);
	_cleanup_close_ int fd = len >= 0 && n ? fds[0] : -1;

	if (len != sizeof(a)) {
		source_reach_end(s);
		return;
	}
	obey(s, &a, fd);
	cor_send_fds(s->reach_link, &a, sizeof(a), NULL, 0);
}

void source_reach_end(struct source *s)
{
	cor_ghost_leave(&s->ghost);
	cor_closep(&s->reach_link);
	s->reach_link = -1;
}

/* ---- the serving part --------------------------------------------------------------------- */

static struct source_registrar *registrar_of(struct cor_reach_registrar *r)
{
	return (struct source_registrar *)r;
}

static int ask(struct source_registrar *r, struct ask *a, const int *fd)
{
	int n = cor_send_fds(r->link, a, sizeof(*a), fd, fd ? 1 : 0);

	if (n < 0)
		return n;
	if (cor_recv_fds(r->link, a, sizeof(*a), NULL, NULL) != sizeof(*a))
		return -EPIPE;
	return a->code;
}

/* The first time. */
static int give(struct source_registrar *r)
{
	struct ask a = { .kind = ASK_GIVE };
	int fd = r->device->ops->foreign->fd(r->device);
	int result = ask(r, &a, &fd);

	r->at = a.at;
	r->given = result >= 0;
	r->failed = result < 0;
	return COR_MIN(result, 0);
}

static int enroll(struct cor_reach_registrar *base, uint64_t offset, uint64_t len,
		  struct cor_rdma_memory *m)
{
	struct source_registrar *r = registrar_of(base);
	const struct cor_rdma_foreign_ops *foreign = r->device->ops->foreign;
	struct ask a = { .kind = ASK_CALL };
	int result = r->failed ? -EOPNOTSUPP : r->given ? 0 : give(r);

	if (result == 0)
		result = foreign->ask(r->device, offset, len, r->at, &a.block);
	if (result == 0)
		result = ask(r, &a, NULL);
	return result < 0 ? result : foreign->take(r->device, &a.block, m);
}

static void forget(struct cor_reach_registrar *base, struct cor_rdma_memory *m)
{
	struct source_registrar *r = registrar_of(base);

	r->device->ops->foreign->forget(r->device, m);
}

static const struct cor_reach_registrar_ops registrar_ops = { enroll, forget };

/* The adapters of lanes by libibverbs, or by libfabric's verbs, can be had by our own. */
bool source_reach_wanted(const struct source *s, const char *transport)
{
	const char *provider;
	const struct cor_rdma_ops *ops = cor_rdma_find("verbs", &provider);

	return cor_mechanism_on(&s->mechanisms, COR_MECHANISM_ONE_SIDED) && s->reach_link >= 0 &&
	       s->args->config->paging.rdma_pin_mib && ops && ops->foreign &&
	       (strcmp(transport, "verbs") == 0 || strncmp(transport, "fabric:verbs", 12) == 0);
}

int source_reach_begin(struct source *s, struct cor_rdma *device, struct cor_rdma_qp *qp,
		       struct cor_error *err)
{
	struct source_registrar *r = &s->registrar;
	const struct cor_reach_options options = {
		.source = s->memory, .registrar = &r->base,
		.bound = (uint64_t)s->args->config->paging.rdma_pin_mib << 20,
	};

	*r = (struct source_registrar){ .base.ops = &registrar_ops, .device = device,
					.link = s->reach_link };
	return cor_reach_owner_new(&s->reach, qp, &options, err);
}

void source_reach_figures(struct source *s)
{
	struct cor_reach_stats st;

	if (!s->reach)
		return;
	cor_reach_owner_stats(s->reach, &st);
	json_object_set_new(s->session.figures, "pinned", json_integer((json_int_t)st.pinned));
	json_object_set_new(s->session.figures, "pinned_max",
			    json_integer((json_int_t)st.pinned_max));
}

void source_reach_stop(struct source *s)
{
	source_reach_figures(s);
	cor_reach_owner_free(s->reach);
	s->reach = NULL;
}
