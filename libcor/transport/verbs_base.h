/* What the files of the libibverbs backend share.
 *
 *	verbs.c      devices, memory, the libraries
 *	verbs_cm.c   connections, by the RDMA connection manager
 *	verbs_qp.c   reads, writes, messages, completions
 *	verbs_foreign.c  memory that another process registers
 */
#pragma once

#include <infiniband/verbs.h>
#include <netinet/in.h>
#include <rdma/rdma_cma.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "libcor/transport/rdma.h"
#include "libcor/transport/rdma_message.h"

/* What we need of librdmacm and libibverbs, loaded when it is needed; what verbs.h
 * has inline goes through the objects themselves. */
#define VERBS_CM(X) \
	X(rdma_create_event_channel) X(rdma_destroy_event_channel) \
	X(rdma_create_id) X(rdma_destroy_id) X(rdma_migrate_id) \
	X(rdma_bind_addr) X(rdma_listen) X(rdma_resolve_addr) X(rdma_resolve_route) \
	X(rdma_create_qp) X(rdma_destroy_qp) \
	X(rdma_connect) X(rdma_accept) X(rdma_reject) X(rdma_disconnect) \
	X(rdma_get_cm_event) X(rdma_ack_cm_event)
#define VERBS_IB(X) \
	X(ibv_get_device_list) X(ibv_free_device_list) \
	X(ibv_alloc_pd) X(ibv_dealloc_pd) X(ibv_dereg_mr) \
	X(ibv_create_comp_channel) X(ibv_destroy_comp_channel) \
	X(ibv_create_cq) X(ibv_destroy_cq) X(ibv_get_cq_event) X(ibv_ack_cq_events) \
	X(ibv_get_async_event) X(ibv_ack_async_event)

struct verbs_lib {
#define MEMBER(name) __typeof__(&name) name;
	VERBS_CM(MEMBER)
	VERBS_IB(MEMBER)
#undef MEMBER
	/* a macro in verbs.h */
	struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *addr, size_t length, int access);
};

#define VERBS_SLOTS (COR_RDMA_UNREAD + 1)
/* Reads, writes, notes and messages that the adapter has not finished. */
#define VERBS_DEPTH (COR_RDMA_POSTED + COR_RDMA_UNREAD)

struct verbs_qp {
	struct cor_rdma_qp base;
	TAILQ_ENTRY(verbs_qp) link;     /* while its connection is being made */
	struct rdma_event_channel *events;      /* its own; NULL: the listener's still */
	struct rdma_cm_id *id;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	int fd;                         /* epoll of both channels and of asynchronous events */
	struct cor_rdma_greeting greeting;      /* accepting: what it was greeted with */
	struct rdma_message *slots;    /* VERBS_SLOTS to receive into, VERBS_DEPTH to send from */
	struct ibv_mr *mr;              /* of them */
	bool send_inline;
	/* work requests in the send queue: sequence numbers */
	uint64_t posted, finished;
	unsigned unsignalled;           /* since the last one that tells when it is finished */
	uint64_t signalled[VERBS_DEPTH];        /* those that tell, oldest first */
	unsigned first_signalled, nsignalled;
	bool armed;                     /* the next completion makes an event */
	unsigned unacked;               /* events of cq */
	unsigned empty;                 /* polls in a row that found nothing */
	atomic_int lost;                /* 0, or why; set by asynchronous events too */
};
TAILQ_HEAD(verbs_qps, verbs_qp);

struct verbs {
	struct cor_rdma base;
	struct verbs_lib lib;
	struct ibv_context *context;    /* librdmacm's */
	struct ibv_pd *pd;
	bool iwarp;
	bool on_demand;                 /* memory can be registered without being pinned */
	unsigned reads;                 /* RDMA READs of one queue pair at once */
	bool driver_known;
	uint32_t driver;                /* enum rdma_driver_id */
	atomic_uint foreign_keys;
	struct rdma_event_channel *events;
	struct rdma_cm_id *id;          /* listening; or resolved, for the next connect() */
	struct sockaddr_storage peer;   /* opened towards an address */
	struct verbs_qps coming;
};

static inline struct verbs *verbs_of(struct cor_rdma *r)
{
	return (struct verbs *)r;
}

static inline struct verbs_qp *verbs_qp_of(struct cor_rdma_qp *qp)
{
	return (struct verbs_qp *)qp;
}

/* verbs_cm.c */
int  verbs_cm_bind(struct verbs *v, const char *host, struct cor_error *err);
int  verbs_cm_listen(struct verbs *v, struct cor_rdma_address *address, struct cor_error *err);
/* Finds the device from which v->peer can be reached. */
int  verbs_cm_resolve(struct verbs *v, unsigned timeout_ms, struct cor_error *err);
void verbs_cm_close(struct verbs *v);
int  verbs_listen_fd(struct cor_rdma *r);
int  verbs_accept(struct cor_rdma *r, bool (*admit)(void *, const struct cor_rdma_greeting *),
		  void *arg, struct cor_rdma_qp **qp, struct cor_rdma_greeting *greeting);
int  verbs_connect(struct cor_rdma *r, const struct cor_rdma_greeting *g, unsigned timeout_ms,
		   struct cor_rdma_qp **qp, struct cor_error *err);

/* verbs_qp.c */
/* Makes a descriptor non-blocking. */
int  verbs_nonblocking(int fd);
/* A queue pair for id, which it owns from here on (on failure too), ready to take
 * messages. */
int  verbs_qp_new(struct verbs *v, struct rdma_cm_id *id, struct verbs_qp **out,
		  struct cor_error *err);
/* Its events come to that channel, which it owns (on failure too), from now on. NULL:
 * there was none to be had. */
int  verbs_qp_watch(struct verbs_qp *q, struct rdma_event_channel *events);
void verbs_qp_free(struct verbs_qp *q);
int  verbs_qp_lose(struct verbs_qp *q, int code);
int  verbs_read(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, void *to,
		size_t len, const struct cor_rdma_remote *from, uint64_t cookie);
int  verbs_write(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, const void *from,
		 size_t len, const struct cor_rdma_remote *to, const uint32_t *note);
int  verbs_send(struct cor_rdma_qp *qp, const void *message, size_t len);
int  verbs_poll(struct cor_rdma_qp *qp, struct cor_rdma_event *events, unsigned max);
int  verbs_fd(struct cor_rdma_qp *qp);
int  verbs_arm(struct cor_rdma_qp *qp);
void verbs_disconnect(struct cor_rdma_qp *qp);

extern const struct cor_rdma_foreign_ops verbs_foreign_ops;
