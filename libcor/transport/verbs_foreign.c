/* Memory that another process registers with an adapter of ours, by one call of ioctl(2).
 * See rdma.h.
 *
 * The kernel takes the pages from whoever makes the call, while what they are registered
 * with belongs to the open device. So the owner of the memory needs a descriptor of the
 * device and nothing else: no library, no thread, not a byte of its own memory.
 *
 * What is written here is what ibv_reg_mr() and ibv_dereg_mr() write (UVERBS_METHOD_INVOKE_WRITE
 * is there since Linux 4.20). Drivers that want more of their own than zeros refuse it. */
#include "libcor/transport/verbs_base.h"

#include <errno.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <rdma/siw-abi.h>
#include <string.h>
#include <sys/ioctl.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

_Static_assert(COR_RDMA_FOREIGN_REQUEST == RDMA_VERBS_IOCTL, "as the kernel has it");

/* A call that destroys what has no such number. */
#define NO_HANDLE 0x7fffffffu

struct registration {
	struct ib_uverbs_ioctl_hdr hdr;
	struct ib_uverbs_attr attr[5];
	struct ib_uverbs_reg_mr in;
	struct ib_uverbs_reg_mr_resp out;
	uint32_t reserved;
	struct siw_uresp_reg_mr siw;
};
_Static_assert(sizeof(struct registration) <= COR_RDMA_FOREIGN, "fits");

static int foreign_fd(struct cor_rdma *r)
{
	return verbs_of(r)->context->cmd_fd;
}

static int destroy(const struct verbs *v, uint32_t driver, uint32_t handle)
{
	struct {
		struct ib_uverbs_ioctl_hdr hdr;
		struct ib_uverbs_attr attr;
	} call = {
		.hdr = { .length = sizeof(call), .object_id = UVERBS_OBJECT_MR,
			 .method_id = UVERBS_METHOD_MR_DESTROY, .num_attrs = 1,
			 .driver_id = driver },
		.attr = { .attr_id = UVERBS_ATTR_DESTROY_MR_HANDLE,
			  .flags = UVERBS_ATTR_F_MANDATORY, .data = handle },
	};

	return ioctl(v->context->cmd_fd, RDMA_VERBS_IOCTL, &call) < 0 ? -errno : 0;
}

/* The kernel wants the driver's number and does not tell it here: with the wrong one nothing
 * is found out but that it is wrong. */
static int find_driver(struct verbs *v)
{
	for (uint32_t id = 0; id < 64 && !v->driver_known; id++) {
		int r = destroy(v, id, NO_HANDLE);

		v->driver = id;
		v->driver_known = r == -ENOENT;
	}
	return v->driver_known ? 0 : -EOPNOTSUPP;
}

/* Up to eight bytes lie in the attribute itself, where the kernel is to read them. */
static void add(struct registration *g, uint16_t id, uint16_t len, uint64_t data)
{
	g->attr[g->hdr.num_attrs++] = (struct ib_uverbs_attr){
		.attr_id = id, .len = len, .flags = UVERBS_ATTR_F_MANDATORY, .data = data,
	};
	g->hdr.length = (uint16_t)(sizeof(g->hdr) + g->hdr.num_attrs * sizeof(g->attr[0]));
}

static int foreign_ask(struct cor_rdma *r, uint64_t addr, uint64_t len, uint64_t at,
		       struct cor_rdma_foreign *out)
{
	struct verbs *v = verbs_of(r);
	struct registration g = {
		.in = { .start = addr, .length = len, .hca_va = addr, .pd_handle = v->pd->handle,
			.access_flags = IBV_ACCESS_REMOTE_READ },
	};
	int result = find_driver(v);

	if (result < 0)
		return result;
	if (v->on_demand)
		g.in.access_flags |= IBV_ACCESS_ON_DEMAND;
	g.hdr.object_id = UVERBS_OBJECT_DEVICE;
	g.hdr.method_id = UVERBS_METHOD_INVOKE_WRITE;
	g.hdr.driver_id = v->driver;
	add(&g, UVERBS_ATTR_WRITE_CMD, sizeof(uint64_t), IB_USER_VERBS_CMD_REG_MR);
	add(&g, UVERBS_ATTR_CORE_IN, sizeof(g.in), at + offsetof(struct registration, in));
	add(&g, UVERBS_ATTR_CORE_OUT, sizeof(g.out), at + offsetof(struct registration, out));
	if (v->driver == RDMA_DRIVER_SIW) {
		/* a part of the key, which must not be zero for all */
		struct siw_ureq_reg_mr own = { .stag_key = (uint8_t)(++v->foreign_keys) };
		uint64_t bytes;

		memcpy(&bytes, &own, sizeof(bytes));
		add(&g, UVERBS_ATTR_UHW_IN, sizeof(own), bytes);
		add(&g, UVERBS_ATTR_UHW_OUT, sizeof(g.siw), at + offsetof(struct registration, siw));
	}
	memset(out, 0, sizeof(*out));
	memcpy(out->bytes, &g, sizeof(g));
	return 0;
}

static int foreign_take(struct cor_rdma *r, const struct cor_rdma_foreign *done,
			struct cor_rdma_memory *m)
{
	const struct verbs *v = verbs_of(r);
	struct registration g;

	memcpy(&g, done->bytes, sizeof(g));
	*m = (struct cor_rdma_memory){
		.len = g.in.length, .remote = g.in.hca_va,
		.key = v->driver == RDMA_DRIVER_SIW ? g.siw.stag : g.out.rkey,
		/* numbers begin with 0, which would be none */
		.handle = (void *)((uintptr_t)g.out.mr_handle + 1),
	};
	return 0;
}

static void foreign_forget(struct cor_rdma *r, struct cor_rdma_memory *m)
{
	const struct verbs *v = verbs_of(r);

	if (m->handle)
		destroy(v, v->driver, (uint32_t)((uintptr_t)m->handle - 1));
	*m = (struct cor_rdma_memory){ 0 };
}

const struct cor_rdma_foreign_ops verbs_foreign_ops = {
	.fd = foreign_fd,
	.ask = foreign_ask,
	.take = foreign_take,
	.forget = foreign_forget,
};
