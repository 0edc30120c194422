/* The table of what reaches remote memory; see rdma.h. */
#include "libcor/transport/rdma.h"

#include <poll.h>
#include <string.h>

#include "config.h"

static const struct cor_rdma_ops *const backends[] = {
#ifdef HAVE_FABRIC
	&cor_rdma_fabric,
#endif
#ifdef HAVE_VERBS
	&cor_rdma_verbs,
#endif
	NULL
};

const struct cor_rdma_ops *cor_rdma_find(const char *transport, const char **provider)
{
	size_t len = strcspn(transport, ":");

	for (unsigned i = 0; backends[i]; i++) {
		if (strlen(backends[i]->name) != len ||
		    strncmp(backends[i]->name, transport, len) != 0)
			continue;
		*provider = transport + len + (transport[len] == ':');
		return backends[i];
	}
	return NULL;
}

void cor_rdma_sweep(void)
{
	for (unsigned i = 0; backends[i]; i++)
		if (backends[i]->sweep)
			backends[i]->sweep();
}

int cor_rdma_wait(struct cor_rdma_qp *qp, int wake, int timeout_ms)
{
	struct pollfd p[] = {
		{ .fd = qp->ops->fd(qp), .events = POLLIN },
		{ .fd = wake, .events = POLLIN },
	};

	if (qp->ops->arm(qp) < 0)
		return 1;
	return poll(p, 2, timeout_ms) > 0;
}
