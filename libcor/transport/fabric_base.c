/* libfabric: names, memory, and what there is to wait for. See fabric_base.h. */
#include "libcor/transport/fabric_base.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

int fabric_fail(const struct fabric *f, struct cor_error *err, int code, const char *what)
{
	/* libfabric's codes are errno's, and some of its own above them */
	return cor_fail(err, code > -256 ? code : -EIO, "libfabric, %s: %s",
			f->info ? f->info->fabric_attr->prov_name : "fi_getinfo",
			what[0] ? what : f->lib.strerror(-code));
}

int fabric_name(const struct fabric *f, struct fid *ep, struct cor_rdma_address *out)
{
	struct fabric_name *n = (struct fabric_name *)out->bytes;
	size_t len = sizeof(n->bytes);
	int r;

	memset(out, 0, sizeof(*out));
	n->format = f->info->addr_format;
	r = fi_getname(ep, n->bytes, &len);
	out->len = (uint16_t)(offsetof(struct fabric_name, bytes) + len);
	return r;
}

int fabric_name_check(const struct cor_rdma_address *a, const struct fabric_name **name, size_t *len)
{
	const struct fabric_name *n = (const struct fabric_name *)a->bytes;
	size_t most = sizeof(n->bytes) - 1;     /* texts end with a NUL that is not sent */

	if (a->len <= offsetof(struct fabric_name, bytes) || a->len > sizeof(a->bytes))
		return -EPROTO;
	*len = a->len - offsetof(struct fabric_name, bytes);
	if (*len > most || n->bytes[most])
		return -EPROTO;
	*name = n;
	return 0;
}

/* A key that nobody guesses, of as many bits as the provider's keys have. */
static uint64_t make_key(const struct fi_info *info)
{
	size_t size = info->domain_attr->mr_key_size;
	uint64_t key = 0;

	if (info->domain_attr->mr_mode & FI_MR_PROV_KEY)
		return 0;
	if (getrandom(&key, COR_MIN(size, sizeof(key)), 0) < 0)
		return 0;
	return key;
}

int fabric_enroll(struct cor_rdma *r, void *addr, size_t len, unsigned access,
		  struct cor_rdma_memory *m, struct cor_error *err)
{
	struct fabric *f = fabric_of(r);
	uint64_t rights = 0;
	struct fid_mr *mr;
	int result;

	if (access & COR_RDMA_LOCAL)
		rights |= FI_SEND | FI_RECV | FI_READ | FI_WRITE;
	if (access & COR_RDMA_REMOTE_READ)
		rights |= FI_REMOTE_READ;
	if (access & COR_RDMA_REMOTE_WRITE)
		rights |= FI_REMOTE_WRITE;
	result = fi_mr_reg(f->domain, addr, len, rights, 0, make_key(f->info), 0, &mr, NULL);
	if (result < 0)
		return fabric_fail(f, err, result, "");
	*m = (struct cor_rdma_memory){
		.addr = addr, .len = len, .key = fi_mr_key(mr), .handle = mr,
		.remote = f->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uintptr_t)addr : 0,
	};
	return 0;
}

void fabric_forget(struct cor_rdma *r, struct cor_rdma_memory *m)
{
	if (m->handle)
		fi_close(&((struct fid_mr *)m->handle)->fid);
	*m = (struct cor_rdma_memory){ 0 };
}

/* ---- waiting -------------------------------------------------------------------- */

bool fabric_must_look(const struct fabric *f, struct fid **fids, int n)
{
	return fi_trywait(f->fabric, fids, n) != 0;
}

int fabric_watch(int epoll, struct fid *fid)
{
	struct epoll_event e = { .events = EPOLLIN };
	int fd, r = fi_control(fid, FI_GETWAIT, &fd);

	if (r < 0)
		return -ENOSYS;
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}
