/* Remote memory over libfabric: devices. See rdma.h, fabric_base.h. */
#include "libcor/transport/fabric_base.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define API FI_VERSION(1, 14)

/* What a provider must do for us, and the conditions of its that we can meet.
 * FI_MR_ENDPOINT is not among them: memory is registered before there is an endpoint. */
#define CAPS  (FI_MSG | FI_SEND | FI_RECV | \
	       FI_RMA | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE)
#define MR_MODES (FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY)
#define ORDER (FI_ORDER_SAS | FI_ORDER_SAW | FI_ORDER_WAW | FI_ORDER_WAS)

static int load(struct fabric_lib *lib, struct cor_error *err)
{
	void *h;

	/* A cache would keep registered what was forgotten, and with it the key. Libfabric
	 * looks when it is loaded. */
	setenv("FI_MR_CACHE_MAX_COUNT", "0", 0);
	/* "shm" would write to whichever process has the peer's PID in our PID namespace */
	setenv("FI_SHM_DISABLE_CMA", "1", 0);
	/* never unloaded: some providers have threads and handlers of their own */
	h = dlopen("libfabric.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!h)
		return cor_fail(err, -ENOPKG, "libfabric is not installed: %s", dlerror());
	lib->getinfo = (__typeof__(lib->getinfo))dlsym(h, "fi_getinfo");
	lib->freeinfo = (__typeof__(lib->freeinfo))dlsym(h, "fi_freeinfo");
	lib->dupinfo = (__typeof__(lib->dupinfo))dlsym(h, "fi_dupinfo");
	lib->fabric = (__typeof__(lib->fabric))dlsym(h, "fi_fabric");
	lib->strerror = (__typeof__(lib->strerror))dlsym(h, "fi_strerror");
	dlclose(h);
	if (!lib->getinfo || !lib->freeinfo || !lib->dupinfo || !lib->fabric || !lib->strerror)
		return cor_fail(err, -ENOPKG, "libfabric is not one that we know");
	return 0;
}

static int aim(struct fi_info *hints, const struct cor_rdma_address *address)
{
	const struct fabric_name *name;
	size_t len;
	int r = fabric_name_check(address, &name, &len);

	if (r < 0)
		return r;
	hints->addr_format = name->format;
	hints->dest_addr = calloc(1, sizeof(name->bytes));
	if (!hints->dest_addr)
		return -FI_ENOMEM;
	memcpy(hints->dest_addr, name->bytes, len);
	hints->dest_addrlen = len;
	return 0;
}

static struct fi_info *hints_for(const struct fabric_lib *lib, const char *provider,
				 enum fi_ep_type type)
{
	struct fi_info *h = lib->dupinfo(NULL);         /* fi_allocinfo() */

	if (!h)
		return NULL;
	h->caps = CAPS;
	h->mode = FI_RX_CQ_DATA;
	h->ep_attr->type = type;
	h->domain_attr->mr_mode = MR_MODES;
	h->domain_attr->threading = FI_THREAD_SAFE;
	h->tx_attr->msg_order = h->rx_attr->msg_order = ORDER;
	h->fabric_attr->prov_name = strdup(provider);
	if (!h->fabric_attr->prov_name) {
		lib->freeinfo(h);
		return NULL;
	}
	return h;
}

/* The provider's own connections where it has them (they are the lighter ones), else
 * what connects by itself. host: of ours; address: of the peer; both NULL: any. */
static int choose(struct fabric *f, const char *provider, const char *host,
		  const struct cor_rdma_address *address, struct cor_error *err)
{
	static const enum fi_ep_type types[] = { FI_EP_MSG, FI_EP_RDM };
	int r = -FI_ENODATA;

	for (unsigned i = 0; i < ARRAY_SIZE(types) && !f->info; i++) {
		struct fi_info *hints = hints_for(&f->lib, provider, types[i]);
		char name[64];

		if (!hints)
			return cor_fail(err, -ENOMEM, "libfabric: out of memory");
		if (fabric_shm_name(provider, name, sizeof(name)))
			r = f->lib.getinfo(API, name, NULL, FI_SOURCE, hints, &f->info);
		else if (address)
			r = aim(hints, address) ?: f->lib.getinfo(API, NULL, NULL, 0, hints, &f->info);
		else
			r = f->lib.getinfo(API, host, host ? "0" : NULL, host ? FI_SOURCE : 0,
					   hints, &f->info);
		f->lib.freeinfo(hints);
		if (r == 0)
			f->connected = types[i] == FI_EP_MSG;
	}
	if (f->info)
		return 0;
	return cor_fail(err, -ENODEV, "libfabric has no provider \"%.40s\" %s%.60s: %s", provider,
			host ? "at " : address ? "towards the peer" : "here", host ?: "",
			f->lib.strerror(-r));
}

static unsigned caps_of(const struct fi_info *info)
{
	unsigned caps = 0;

	/* what runs in software says so by wanting no memory to be there */
	if (info->domain_attr->mr_mode & FI_MR_ALLOCATED)
		caps |= COR_RDMA_OFFLOADED;
	else
		caps |= COR_RDMA_UNPINNED;
	if (strcmp(info->fabric_attr->prov_name, "shm") != 0)
		caps |= COR_RDMA_EVENTS;
	return caps;
}

static int fabric_probe(const char *provider, unsigned *caps, struct cor_error *err)
{
	struct fabric f = { 0 };
	int r;

	if (!provider[0])
		return cor_fail(err, -EINVAL, "the transport \"fabric\" needs a provider, as in "
				"fabric:tcp");
	r = load(&f.lib, err);
	if (r == 0)
		r = choose(&f, provider, NULL, NULL, err);
	if (r < 0)
		return r;
	*caps = caps_of(f.info);
	f.lib.freeinfo(f.info);
	return 0;
}

static void fabric_close(struct cor_rdma *r)
{
	struct fabric *f = fabric_of(r);
	struct fabric_qp *q;

	while ((q = TAILQ_FIRST(&f->coming))) {
		TAILQ_REMOVE(&f->coming, q, link);
		fabric_qp_free(q);
	}
	if (f->front)
		fabric_qp_free(f->front);
	if (f->pep)
		fi_close(&f->pep->fid);
	if (f->eq)
		fi_close(&f->eq->fid);
	if (f->av)
		fi_close(&f->av->fid);
	if (f->domain)
		fi_close(&f->domain->fid);
	if (f->fabric)
		fi_close(&f->fabric->fid);
	if (f->info)
		f->lib.freeinfo(f->info);
	cor_closep(&f->epoll);
	free(f);
}

static void closep(struct fabric **f)
{
	if (*f)
		fabric_close(&(*f)->base);
}

static int open_device(struct fabric **out, const char *provider, const char *host,
		       const struct cor_rdma_address *address, struct cor_error *err)
{
	_cleanup_(closep) struct fabric *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return cor_fail(err, -ENOMEM, "libfabric: out of memory");
	f->base.ops = &cor_rdma_fabric;
	atomic_init(&f->base.refs, 1);
	f->epoll = -1;
	TAILQ_INIT(&f->coming);
	r = load(&f->lib, err);
	if (r == 0)
		r = choose(f, provider, host, address, err);
	if (r < 0)
		return r;
	f->base.caps = caps_of(f->info);
	f->noteless = f->info->domain_attr->cq_data_size < sizeof(uint32_t);
	r = f->lib.fabric(f->info->fabric_attr, &f->fabric, NULL);
	if (r == 0)
		r = fi_domain(f->fabric, f->info, &f->domain, NULL);
	if (r == 0 && !f->connected) {
		struct fi_av_attr av = { .type = FI_AV_TABLE };

		r = fi_av_open(f->domain, &av, &f->av, NULL);
	}
	if (r < 0)
		return fabric_fail(f, err, r, "");
	*out = take_ptr(f);
	return 0;
}

static int fabric_listen(const char *provider, const char *host, struct cor_rdma **out,
			 struct cor_rdma_address *address, struct cor_error *err)
{
	_cleanup_(closep) struct fabric *f = NULL;
	int r = open_device(&f, provider, host, NULL, err);

	if (r < 0)
		return r;
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (f->epoll < 0)
		return cor_fail_errno(err, "epoll_create1");
	r = f->connected ? fabric_msg_listen(f, address, err) : fabric_rdm_listen(f, address, err);
	if (r < 0)
		return r;
	*out = &take_ptr(f)->base;
	return 0;
}

static int fabric_open(const char *provider, const struct cor_rdma_address *address,
		       struct cor_rdma **out, struct cor_error *err)
{
	_cleanup_(closep) struct fabric *f = NULL;
	const struct fabric_name *name;
	size_t len;
	int r = fabric_name_check(address, &name, &len);

	if (r < 0)
		return cor_fail(err, r, "the peer's address of %u bytes is none", address->len);
	r = open_device(&f, provider, NULL, address, err);
	if (r < 0)
		return r;
	r = f->connected ? 0 : fabric_rdm_insert(f, address, &f->listener);
	if (r < 0)
		return fabric_fail(f, err, r, r == -EHOSTUNREACH ? "the peer is on another host" :
				   "the peer's address is none of its own");
	*out = &take_ptr(f)->base;
	return 0;
}

static int fabric_listen_fd(struct cor_rdma *r)
{
	return fabric_of(r)->epoll;
}

static int fabric_accept(struct cor_rdma *r, bool (*admit)(void *, const struct cor_rdma_greeting *),
			 void *arg, struct cor_rdma_qp **qp, struct cor_rdma_greeting *greeting)
{
	struct fabric *f = fabric_of(r);
	struct fabric_qp *q;
	int result = f->connected ? fabric_msg_accept(f, admit, arg, &q) :
				    fabric_rdm_accept(f, admit, arg, &q);

	if (result < 0)
		return result;
	q->base.accepted = true;
	*greeting = q->greeting;
	*qp = &q->base;
	return 0;
}

static int fabric_connect(struct cor_rdma *r, const struct cor_rdma_greeting *g,
			  unsigned timeout_ms, struct cor_rdma_qp **qp, struct cor_error *err)
{
	struct fabric *f = fabric_of(r);
	struct fabric_qp *q;
	int result = f->connected ? fabric_msg_connect(f, g, timeout_ms, &q, err) :
				    fabric_rdm_connect(f, g, timeout_ms, &q, err);

	if (result < 0)
		return result;
	*qp = &q->base;
	return 0;
}

const struct cor_rdma_ops cor_rdma_fabric = {
	.name = "fabric",
	.probe = fabric_probe,
	.listen = fabric_listen,
	.open = fabric_open,
	.listen_fd = fabric_listen_fd,
	.accept = fabric_accept,
	.connect = fabric_connect,
	.enroll = fabric_enroll,
	.forget = fabric_forget,
	.read = fabric_read,
	.write = fabric_write,
	.send = fabric_send,
	.poll = fabric_poll,
	.fd = fabric_fd,
	.arm = fabric_arm,
	.disconnect = fabric_disconnect,
	.sweep = fabric_shm_sweep,
	.close = fabric_close,
};
