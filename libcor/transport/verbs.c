/* Remote memory over libibverbs: devices and memory. See rdma.h, verbs_base.h. */
#include "libcor/transport/verbs_base.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define RESOLVE_TIMEOUT_MS 5000u
#define READS_MAX 16    /* RDMA READs of a queue pair at once */

static int load(struct verbs_lib *lib, struct cor_error *err)
{
	/* never unloaded: drivers of adapters are loaded into them */
	void *cm = dlopen("librdmacm.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	void *ib = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	bool whole = cm && ib;

	if (!whole)
		cor_fail(err, -ENOPKG, "%s is not installed: %s", cm ? "libibverbs" : "librdmacm",
			 dlerror());
#define FIND(from, name) do { \
		lib->name = whole ? (__typeof__(lib->name))dlsym(from, #name) : NULL; \
		if (whole && !lib->name) { \
			cor_fail(err, -ENOPKG, "librdmacm or libibverbs lacks " #name); \
			whole = false; \
		} \
	} while (0);
#define FIND_CM(name) FIND(cm, name)
#define FIND_IB(name) FIND(ib, name)
	VERBS_CM(FIND_CM)
	VERBS_IB(FIND_IB)
	lib->reg_mr = whole ? (__typeof__(lib->reg_mr))dlsym(ib, "ibv_reg_mr") : NULL;
	if (cm)
		dlclose(cm);
	if (ib)
		dlclose(ib);
	return whole && lib->reg_mr ? 0 : -ENOPKG;
}

static int count_devices(const struct verbs_lib *lib)
{
	struct ibv_device **list;
	int n = 0;

	list = lib->ibv_get_device_list(&n);
	if (!list)
		return 0;
	lib->ibv_free_device_list(list);
	return n;
}

static int verbs_probe(const char *provider, unsigned *caps, struct cor_error *err)
{
	struct verbs_lib lib;
	int r;

	if (provider[0])
		return cor_fail(err, -EINVAL, "the transport verbs has no providers: \"%.40s\"", provider);
	r = load(&lib, err);
	if (r < 0)
		return r;
	if (count_devices(&lib) == 0)
		return cor_fail(err, -ENODEV, "this host has no RDMA adapter");
	*caps = COR_RDMA_OFFLOADED | COR_RDMA_EVENTS;
	return 0;
}

static void verbs_close(struct cor_rdma *r)
{
	struct verbs *v = verbs_of(r);

	verbs_cm_close(v);
	if (v->pd)
		v->lib.ibv_dealloc_pd(v->pd);
	free(v);
}

static void closep(struct verbs **v)
{
	if (*v)
		verbs_close(&(*v)->base);
}

/* What the adapter can do. On-demand paging counts where it is for reads over
 * reliable connections. */
static void ask_device(struct verbs *v)
{
	struct verbs_context *vctx = verbs_get_ctx_op(v->context, query_device_ex);
	struct ibv_device_attr_ex a = { 0 };

	v->iwarp = v->context->device->transport_type == IBV_TRANSPORT_IWARP;
	v->reads = 1;
	if (!vctx || vctx->query_device_ex(v->context, NULL, &a, sizeof(a)) != 0)
		return;
	if (a.orig_attr.max_qp_rd_atom > 1)
		v->reads = (unsigned)COR_MIN(a.orig_attr.max_qp_rd_atom, READS_MAX);
	v->on_demand = a.odp_caps.general_caps & IBV_ODP_SUPPORT &&
		       a.odp_caps.per_transport_caps.rc_odp_caps & IBV_ODP_SUPPORT_READ;
}

/* librdmacm opens an adapter once and for all, and the kernel takes work from no other process
 * than the one that did: it says so before it looks at what is written. */
static int check_ours(const struct verbs *v, struct cor_error *err)
{
	const char nothing = 0;

	if (write(v->context->cmd_fd, &nothing, sizeof(nothing)) < 0 && errno == EACCES)
		return cor_fail(err, -EACCES, "%s was opened before this process was forked, or "
				"changed its credentials", v->context->device->name);
	return 0;
}

/* Behind verbs_cm_bind() or verbs_cm_resolve(), which know the adapter. */
static int open_adapter(struct verbs *v, struct cor_error *err)
{
	int r;

	v->context = v->id->verbs;
	if (!v->context)
		return cor_fail(err, -ENODEV, "no RDMA adapter has this address");
	r = check_ours(v, err);
	if (r < 0)
		return r;
	ask_device(v);
	v->base.caps = COR_RDMA_OFFLOADED | COR_RDMA_EVENTS;
	if (v->on_demand)
		v->base.caps |= COR_RDMA_UNPINNED;
	v->pd = v->lib.ibv_alloc_pd(v->context);
	return v->pd ? 0 : cor_fail_errno(err, "%s: a protection domain", v->context->device->name);
}

static int new_device(struct verbs **out, const char *provider, struct cor_error *err)
{
	_cleanup_(closep) struct verbs *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return cor_fail(err, -ENOMEM, "verbs: out of memory");
	v->base.ops = &cor_rdma_verbs;
	atomic_init(&v->base.refs, 1);
	TAILQ_INIT(&v->coming);
	if (provider[0])
		return cor_fail(err, -EINVAL, "the transport verbs has no providers: \"%.40s\"", provider);
	r = load(&v->lib, err);
	if (r < 0)
		return r;
	v->events = v->lib.rdma_create_event_channel();
	if (!v->events)
		return cor_fail_errno(err, "the RDMA connection manager");
	*out = take_ptr(v);
	return 0;
}

static int verbs_listen(const char *provider, const char *host, struct cor_rdma **out,
			struct cor_rdma_address *address, struct cor_error *err)
{
	_cleanup_(closep) struct verbs *v = NULL;
	int r = new_device(&v, provider, err);

	if (r == 0)
		r = verbs_cm_bind(v, host, err);
	if (r == 0)
		r = open_adapter(v, err);
	if (r == 0)
		r = verbs_cm_listen(v, address, err);
	if (r < 0)
		return r;
	*out = &take_ptr(v)->base;
	return 0;
}

static int verbs_open(const char *provider, const struct cor_rdma_address *address,
		      struct cor_rdma **out, struct cor_error *err)
{
	_cleanup_(closep) struct verbs *v = NULL;
	int r = new_device(&v, provider, err);

	if (r < 0)
		return r;
	memcpy(&v->peer, address->bytes, COR_MIN((size_t)address->len, sizeof(address->bytes)));
	if ((v->peer.ss_family != AF_INET || address->len != sizeof(struct sockaddr_in)) &&
	    (v->peer.ss_family != AF_INET6 || address->len != sizeof(struct sockaddr_in6)))
		return cor_fail(err, -EPROTO, "the peer's address of %u bytes is none", address->len);
	r = verbs_cm_resolve(v, RESOLVE_TIMEOUT_MS, err);
	if (r == 0)
		r = open_adapter(v, err);
	if (r < 0)
		return r;
	*out = &take_ptr(v)->base;
	return 0;
}

/* ---- memory ------------------------------------------------------------------- */

static int verbs_enroll(struct cor_rdma *r, void *addr, size_t len, unsigned access,
			struct cor_rdma_memory *m, struct cor_error *err)
{
	struct verbs *v = verbs_of(r);
	int rights = 0;
	struct ibv_mr *mr;

	if (access & COR_RDMA_LOCAL)
		rights |= IBV_ACCESS_LOCAL_WRITE;
	/* iWARP's reads are answered by writes */
	if (access & COR_RDMA_LOCAL && v->iwarp)
		rights |= IBV_ACCESS_REMOTE_WRITE;
	if (access & COR_RDMA_REMOTE_READ)
		rights |= IBV_ACCESS_REMOTE_READ;
	if (access & COR_RDMA_REMOTE_WRITE)
		rights |= IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE;
	if (access == COR_RDMA_REMOTE_READ && v->on_demand)
		rights |= IBV_ACCESS_ON_DEMAND;
	mr = v->lib.reg_mr(v->pd, addr, len, rights);
	if (!mr)
		return cor_fail_errno(err, "%s: registering %zu bytes", v->context->device->name, len);
	*m = (struct cor_rdma_memory){
		.addr = addr, .len = len, .remote = (uintptr_t)addr, .key = mr->rkey, .handle = mr,
	};
	return 0;
}

static void verbs_forget(struct cor_rdma *r, struct cor_rdma_memory *m)
{
	if (m->handle)
		verbs_of(r)->lib.ibv_dereg_mr(m->handle);
	*m = (struct cor_rdma_memory){ 0 };
}

const struct cor_rdma_ops cor_rdma_verbs = {
	.name = "verbs",
	.probe = verbs_probe,
	.listen = verbs_listen,
	.open = verbs_open,
	.listen_fd = verbs_listen_fd,
	.accept = verbs_accept,
	.connect = verbs_connect,
	.enroll = verbs_enroll,
	.forget = verbs_forget,
	.read = verbs_read,
	.write = verbs_write,
	.send = verbs_send,
	.poll = verbs_poll,
	.fd = verbs_fd,
	.arm = verbs_arm,
	.disconnect = verbs_disconnect,
	.foreign = &verbs_foreign_ops,
	.close = verbs_close,
};
