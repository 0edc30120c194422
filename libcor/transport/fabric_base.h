/* What the files of the libfabric backend share. From the bottom:
 *
 *	fabric_base.c  names, memory, what there is to wait for
 *	fabric_shm.c   what is peculiar to the provider "shm"
 *	fabric_qp.c    reads, writes, messages, completions
 *	fabric_msg.c   connections where the provider makes them (FI_EP_MSG)
 *	fabric_rdm.c   and where it does not (FI_EP_RDM): made by messages
 *	fabric.c       devices: the operations of rdma.h
 */
#pragma once

#include <pthread.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <sys/queue.h>

#include "libcor/transport/rdma.h"
#include "libcor/transport/rdma_message.h"

/* What is in a cor_rdma_address of ours. */
struct fabric_name {
	uint32_t format;        /* FI_SOCKADDR_IN and the like */
	uint8_t  bytes[120];
} __attribute__((packed));
_Static_assert(sizeof(struct fabric_name) <= sizeof(((struct cor_rdma_address *)0)->bytes), "fits");

/* Behind a greeting, where connections are made by messages: a name of the sender. */
struct fabric_hail {
	struct cor_rdma_greeting greeting;
	struct cor_rdma_address  from;
};

/* Room for one message that comes in. */
union fabric_slot {
	struct rdma_message message;
	struct fabric_hail hail;
};

#define FABRIC_SLOTS (COR_RDMA_UNREAD + 1)

/* What we need of libfabric, loaded when it is needed. All else is called through
 * the objects that it makes. */
struct fabric_lib {
	int  (*getinfo)(uint32_t version, const char *node, const char *service, uint64_t flags,
			const struct fi_info *hints, struct fi_info **info);
	void (*freeinfo)(struct fi_info *info);
	struct fi_info *(*dupinfo)(const struct fi_info *info);
	int  (*fabric)(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context);
	const char *(*strerror)(int code);
};

struct fabric_qp {
	struct cor_rdma_qp base;
	TAILQ_ENTRY(fabric_qp) link;    /* while its connection is being made */
	struct fid_ep *ep;
	struct fid_cq *cq;
	struct fid_eq *eq;      /* FI_EP_MSG */
	fi_addr_t peer;         /* FI_EP_RDM */
	int fd;                 /* epoll of cq and eq; a timer where there is nothing to wait for */
	bool timed;
	unsigned idle;          /* waits of the timer without an event */
	unsigned empty;         /* polls in a row that found nothing */
	int lost;               /* 0, or why */
	struct cor_rdma_greeting greeting;      /* accepting: what it was greeted with */
	struct cor_rdma_memory slots;
	union fabric_slot *slot;        /* FABRIC_SLOTS, posted */
	union fabric_slot *spare;       /* registered too: what is sent from */
};
TAILQ_HEAD(fabric_qps, fabric_qp);

struct fabric {
	struct cor_rdma base;
	struct fabric_lib lib;
	struct fi_info *info;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	bool connected;         /* the provider makes connections */
	bool noteless;          /* writes carry no note: a message follows (iWARP) */
	/* listening */
	int epoll;              /* what accept() waits for */
	struct fid_eq *eq;      /* FI_EP_MSG: connection requests, */
	struct fid_pep *pep;
	struct fabric_qps coming;       /* and who is not there yet */
	struct fabric_qp *front;        /* FI_EP_RDM: where peers report */
	/* FI_EP_RDM */
	struct fid_av *av;
	fi_addr_t listener;     /* opened towards an address: whom connect() reports to */
};

static inline struct fabric *fabric_of(struct cor_rdma *r)
{
	return (struct fabric *)r;
}

static inline struct fabric_qp *fabric_qp_of(struct cor_rdma_qp *qp)
{
	return (struct fabric_qp *)qp;
}

/* fabric_base.c: the name of an endpoint. A name that makes no sense is -EPROTO. */
int fabric_name(const struct fabric *f, struct fid *ep, struct cor_rdma_address *out);
int fabric_name_check(const struct cor_rdma_address *a, const struct fabric_name **name, size_t *len);

/* cor_fail() with libfabric's own words for its (negative) code. */
int fabric_fail(const struct fabric *f, struct cor_error *err, int code, const char *what);

int  fabric_enroll(struct cor_rdma *r, void *addr, size_t len, unsigned access,
		   struct cor_rdma_memory *m, struct cor_error *err);
void fabric_forget(struct cor_rdma *r, struct cor_rdma_memory *m);

/* Has an event queue or a completion queue more to tell before its descriptor is
 * waited for? */
bool fabric_must_look(const struct fabric *f, struct fid **fids, int n);
/* Adds the descriptor of a queue to an epoll; -ENOSYS: it has none. */
int  fabric_watch(int epoll, struct fid *fid);

/* fabric_qp.c */
/* A queue pair on an endpoint made from info, enabled and ready to take messages, not
 * yet connected. */
int  fabric_qp_new(struct fabric *f, struct fi_info *info, struct fabric_qp **out,
		   struct cor_error *err);
void fabric_qp_free(struct fabric_qp *q);
int  fabric_qp_lose(struct fabric_qp *q, int code);
/* Completions, in the words of libfabric: entries read, 0, or -errno: lost. */
int  fabric_qp_complete(struct fabric_qp *q, struct fi_cq_data_entry *entries, unsigned max);
int  fabric_qp_repost(struct fabric_qp *q, union fabric_slot *slot);
int  fabric_read(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, void *to,
		 size_t len, const struct cor_rdma_remote *from, uint64_t cookie);
int  fabric_write(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, const void *from,
		  size_t len, const struct cor_rdma_remote *to, const uint32_t *note);
int  fabric_send(struct cor_rdma_qp *qp, const void *message, size_t len);
int  fabric_poll(struct cor_rdma_qp *qp, struct cor_rdma_event *events, unsigned max);
int  fabric_fd(struct cor_rdma_qp *qp);
int  fabric_arm(struct cor_rdma_qp *qp);
void fabric_disconnect(struct cor_rdma_qp *qp);

/* fabric_shm.c */
/* A name for an endpoint of ours, if the provider is "shm". */
bool fabric_shm_name(const char *provider, char *name, size_t size);
/* Such a name tells at once whether it is this host's; otherwise the provider would wait for
 * it to appear. false: it is no such name. */
bool fabric_shm_out_of_reach(const char *name);
/* sweep() of cor_rdma_ops: files of endpoints. */
void fabric_shm_sweep(void);

/* fabric_msg.c, fabric_rdm.c: the two ways to connect, as in struct cor_rdma_ops. */
int  fabric_msg_listen(struct fabric *f, struct cor_rdma_address *address, struct cor_error *err);
int  fabric_msg_accept(struct fabric *f, bool (*admit)(void *, const struct cor_rdma_greeting *),
		       void *arg, struct fabric_qp **out);
int  fabric_msg_connect(struct fabric *f, const struct cor_rdma_greeting *g, unsigned timeout_ms,
			struct fabric_qp **out, struct cor_error *err);
/* The peer of that name, as fi_addr_t. -EPROTO, -EHOSTUNREACH. */
int  fabric_rdm_insert(struct fabric *f, const struct cor_rdma_address *a, fi_addr_t *out);
int  fabric_rdm_listen(struct fabric *f, struct cor_rdma_address *address, struct cor_error *err);
int  fabric_rdm_accept(struct fabric *f, bool (*admit)(void *, const struct cor_rdma_greeting *),
		       void *arg, struct fabric_qp **out);
int  fabric_rdm_connect(struct fabric *f, const struct cor_rdma_greeting *g, unsigned timeout_ms,
			struct fabric_qp **out, struct cor_error *err);
