/* The seam between cor and what reads and writes another host's memory. One ops
 * struct, one file per backend:
 *
 *	fabric.c   libfabric, by provider: "fabric:tcp", "fabric:shm", "fabric:verbs"
 *	verbs.c    libibverbs and librdmacm: "verbs"
 *
 * A *device* is an opened provider or adapter; memory is registered with it. A
 * *queue pair* connects two devices. One side listens on a device and hands its
 * address over by another way (the control channel); the other opens a device
 * towards that address and connects, with a greeting that says what the queue pair
 * is for and proves that it may be made. Then either side may
 *
 *	read and write   memory that the other has registered and told the key of
 *	send             short messages, which the other finds in poll()
 *
 * but who accepted posts nothing before he has heard of the peer. iWARP wants it so (RFC
 * 5044, 7.1): what came amid the handshake would end the connection.
 *
 * Messages and the notes of writes arrive in the order in which they were posted,
 * and a note or a message later than the data of the writes before it. Reads
 * complete in any order.
 *
 * What goes wrong with a queue pair (the peer ended, the cable is out, a key is not
 * valid) makes it lost: poll() says so once and for all, and what was posted never
 * completes. A device is safe for use by many threads, a queue pair by one at a time.
 *
 * Nothing of it survives fork(2): a child of a process that has opened a device, even if it
 * is closed again, can open none of the same adapter (verbs: -EACCES).
 *
 * The libraries are loaded when the first device is opened, never before: that of
 * libfabric takes a fifth of a second. Where cor was built without them, or they
 * are not installed, opening says so.
 */
#pragma once

#include <cor/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COR_RDMA_MESSAGE 48u    /* bytes, the longest */
#define COR_RDMA_UNREAD  64u    /* messages and notes that a peer has room for before it polls */
#define COR_RDMA_POSTED  256u   /* reads and writes of one queue pair at once, at the most */
#define COR_RDMA_TOKEN   32u

/* What a peer connects to, as the backend writes it. */
struct cor_rdma_address {
	uint16_t len;
	uint8_t  bytes[126];
};

/* The first that a new queue pair says. */
struct cor_rdma_greeting {
	uint8_t purpose;        /* the caller's */
	uint8_t reserved[7];
	uint8_t token[COR_RDMA_TOKEN];
} __attribute__((packed));
_Static_assert(sizeof(struct cor_rdma_greeting) == 40, "fits into a connection request");

enum cor_rdma_access {
	COR_RDMA_LOCAL        = 1 << 0,  /* reads put data here, writes take it from here */
	COR_RDMA_REMOTE_READ  = 1 << 1,
	COR_RDMA_REMOTE_WRITE = 1 << 2,
};

enum cor_rdma_caps {
	/* A peer's reads and writes need none of this process's time. Otherwise some
	 * thread here must be polling for them to get on. */
	COR_RDMA_OFFLOADED = 1 << 0,
	/* Registering costs next to nothing and pins nothing: memory can be registered
	 * as a whole, also where parts of it do not exist. Otherwise its pages must all
	 * be there, and stay in memory until it is deregistered. */
	COR_RDMA_UNPINNED  = 1 << 1,
	/* fd() tells of everything. Otherwise it wakes up now and then to look. */
	COR_RDMA_EVENTS    = 1 << 2,
};

/* Registered memory. remote and key are what a peer needs to reach it; they come
 * from the backend and mean nothing else. */
struct cor_rdma_memory {
	void    *addr;
	size_t   len;
	uint64_t remote;        /* of its first byte */
	uint64_t key;
	void    *handle;        /* the backend's */
};

/* Memory of the peer, as it told it. */
struct cor_rdma_remote {
	uint64_t addr;
	uint64_t key;
};

enum cor_rdma_event_kind {
	COR_RDMA_READ = 1,      /* a read has completed: cookie */
	COR_RDMA_NOTE,          /* data was written here, all that came before too: note */
	COR_RDMA_MSG,           /* a message: len, bytes */
};

struct cor_rdma_event {
	enum cor_rdma_event_kind kind;
	uint64_t cookie;
	uint32_t note;
	unsigned len;
	uint8_t  bytes[COR_RDMA_MESSAGE];
};

/* Memory that another process registers, of its own, for queue pairs of ours: by one call,
 * ioctl(fd, COR_RDMA_FOREIGN_REQUEST, at), where fd is a descriptor of the device that it was
 * given, and at the address, in its memory, of these bytes, which the call changes. */
#define COR_RDMA_FOREIGN         256u
#define COR_RDMA_FOREIGN_REQUEST 0xc0181b01u

struct cor_rdma;

struct cor_rdma_foreign {
	uint8_t bytes[COR_RDMA_FOREIGN];
};

struct cor_rdma_foreign_ops {
	/* The descriptor; the device's. What is registered by another's copy of it stays
	 * registered until forget(), or until the last copy is closed. */
	int (*fd)(struct cor_rdma *r);
	/* What must lie at `at`, for [addr, addr + len) of the other's memory to be read by
	 * peers. -EOPNOTSUPP: this adapter has no such thing. */
	int (*ask)(struct cor_rdma *r, uint64_t addr, uint64_t len, uint64_t at,
		   struct cor_rdma_foreign *out);
	/* Behind a call that gave 0: what it has registered. */
	int (*take)(struct cor_rdma *r, const struct cor_rdma_foreign *done,
		    struct cor_rdma_memory *m);
	/* A peer's access fails from here on. By us; the other process is not needed. */
	void (*forget)(struct cor_rdma *r, struct cor_rdma_memory *m);
};

struct cor_rdma_ops;

struct cor_rdma {
	const struct cor_rdma_ops *ops;
	atomic_uint refs;       /* cor_rdma_ref() */
	unsigned caps;          /* enum cor_rdma_caps; known once a device is open */
};

struct cor_rdma_qp {
	const struct cor_rdma_ops *ops;
	struct cor_rdma *device;        /* on which its owner has a reference */
	bool accepted;                  /* by accept(): the peer has to speak first */
};

struct cor_rdma_ops {
	const char *name;       /* a transport's name, up to its colon */

	/* Could a device of provider ("": of any) be opened on this host? Called while a
	 * migration is negotiated and by cor check; opens nothing for good. 0 with its
	 * caps, -ENOTSUP (built without), -ENOPKG (no library), -ENODEV (no such device
	 * or provider). */
	int (*probe)(const char *provider, unsigned *caps, struct cor_error *err);

	/* Opens the device that host, a numeric address of this host, belongs to, and
	 * listens there. *address is what a peer must be told. The caller has the only
	 * reference on it. */
	int (*listen)(const char *provider, const char *host, struct cor_rdma **out,
		      struct cor_rdma_address *address, struct cor_error *err);

	/* Opens the device from which address can be reached; a reference as above. */
	int (*open)(const char *provider, const struct cor_rdma_address *address,
		    struct cor_rdma **out, struct cor_error *err);

	/* Of a device that listens: readable when accept() may get on. The device's. */
	int (*listen_fd)(struct cor_rdma *r);

	/* Gets on with connections that are being made, without waiting. A greeting for
	 * which admit() says no is refused. 0: *qp is a new queue pair with *greeting;
	 * -EAGAIN: none is ready. An attempt that fails is forgotten. */
	int (*accept)(struct cor_rdma *r, bool (*admit)(void *arg, const struct cor_rdma_greeting *g),
		      void *arg, struct cor_rdma_qp **qp, struct cor_rdma_greeting *greeting);

	/* Connects a queue pair of a device made by open(), within timeout_ms.
	 * -ECONNREFUSED, -ETIMEDOUT, -errno. */
	int (*connect)(struct cor_rdma *r, const struct cor_rdma_greeting *greeting,
		       unsigned timeout_ms, struct cor_rdma_qp **qp, struct cor_error *err);

	/* Registers memory (access: enum cor_rdma_access). -ENOMEM: it would pin more
	 * than is allowed; -EFAULT: some of it is not there. Every device has limits of
	 * its own; other errors are as good as these. */
	int (*enroll)(struct cor_rdma *r, void *addr, size_t len, unsigned access,
		      struct cor_rdma_memory *m, struct cor_error *err);
	/* A peer's access fails from here on. m may be zeros: nothing was registered. */
	void (*forget)(struct cor_rdma *r, struct cor_rdma_memory *m);

	/* Post a read into, or a write out of, local memory: len bytes at to (or from),
	 * which lies in local. Never block; -EAGAIN: too much is posted, poll() makes
	 * room. A read's completion is told with cookie (below 2^48), a write's is not.
	 * note: NULL, or what the peer is told behind the data. */
	int (*read)(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, void *to,
		    size_t len, const struct cor_rdma_remote *from, uint64_t cookie);
	int (*write)(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, const void *from,
		     size_t len, const struct cor_rdma_remote *to, const uint32_t *note);
	/* Sends len bytes (1..COR_RDMA_MESSAGE), copied. The peer must have room: see
	 * COR_RDMA_UNREAD. -EAGAIN as above. */
	int (*send)(struct cor_rdma_qp *qp, const void *message, size_t len);

	/* Up to max events, without waiting; 0: none. -errno: the queue pair is lost
	 * (-ECONNRESET where the peer ended it). */
	int (*poll)(struct cor_rdma_qp *qp, struct cor_rdma_event *events, unsigned max);

	/* Readable when poll() may find something, but only after arm() has said 0. arm()
	 * says -EAGAIN instead when something may be there already. The queue pair's. */
	int (*fd)(struct cor_rdma_qp *qp);
	int (*arm)(struct cor_rdma_qp *qp);

	/* Ends the connection and frees it. What was registered stays so. */
	void (*disconnect)(struct cor_rdma_qp *qp);

	/* NULL: only a process itself can register its memory. */
	const struct cor_rdma_foreign_ops *foreign;

	/* Removes what processes of this PID namespace that were killed have left on the
	 * host. NULL: the kernel does. */
	void (*sweep)(void);

	/* By cor_rdma_unref() alone: frees the device. Its queue pairs are gone, and its
	 * memory is forgotten. */
	void (*close)(struct cor_rdma *r);
};

/* Behind the end of a process that may have used one of them: all backends' sweep(). */
void cor_rdma_sweep(void);

extern const struct cor_rdma_ops cor_rdma_fabric;
extern const struct cor_rdma_ops cor_rdma_verbs;

/* The backend that a transport's name means, and the provider behind the colon
 * ("": none named). NULL: none of ours. */
const struct cor_rdma_ops *cor_rdma_find(const char *transport, const char **provider);

static inline struct cor_rdma *cor_rdma_ref(struct cor_rdma *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

/* The last one closes the device. NULL allowed. Any thread. */
static inline void cor_rdma_unref(struct cor_rdma *r)
{
	if (r && atomic_fetch_sub(&r->refs, 1) == 1)
		r->ops->close(r);
}

/* Waits until poll() may find something, until wake (-1: none) is readable, or until
 * timeout_ms is over (-1: none): 1, or 0 for that. For threads that do nothing else. */
int cor_rdma_wait(struct cor_rdma_qp *qp, int wake, int timeout_ms);
