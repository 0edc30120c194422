/* A ghost's own system calls; see ghost.h. */
#include "libcor/task/ghost.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* In the runner's room. */
struct room {
	struct cor_call call;
	int32_t pair[2];
	struct msghdr message;
	struct iovec iov;
	char byte;
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	_Alignas(8) uint8_t block[COR_GHOST_BLOCK];
};

static struct room *room_of(const struct cor_ghost *g)
{
	return cor_runner_room(g->t->runner);
}

static uint64_t remote(const struct cor_ghost *g, const void *in_room)
{
	return cor_runner_remote(g->t->runner, in_room);
}

/* The kernel's return value, which is an error of the ghost's where it is negative. */
static int64_t call(const struct cor_ghost *g, uint64_t nr, uint64_t a, uint64_t b, uint64_t c,
		    uint64_t d, struct cor_error *err)
{
	struct room *room = room_of(g);
	unsigned done = 0;
	int r;

	room->call = (struct cor_call){ .nr = nr, .arg = { a, b, c, d } };
	r = cor_runner_run(g->t->runner, g->t->threads[0].tid, &room->call, 1, 0, &done, err);
	return r < 0 ? r : done == 1 ? room->call.ret : -EIO;
}

/* The capture's runner has stayed, as a rule with room for more than this. */
static int need_room(struct cor_tracee *t, struct cor_error *err)
{
	if (t->runner && cor_runner_size(t->runner) >= sizeof(struct room))
		return 0;
	cor_runner_unmap(take_ptr(t->runner), t->pid, NULL);
	return cor_runner_map(&t->runner, t->pid, cor_find_syscall_insn(t->pid), 0,
			      sizeof(struct room), err);
}

static int receive(const struct cor_ghost *g, struct cor_error *err)
{
	struct room *room = room_of(g);
	const struct cmsghdr *c = &room->control.head;
	int64_t r;
	int fd;

	room->iov = (struct iovec){ (void *)remote(g, &room->byte), 1 };
	room->message = (struct msghdr){
		.msg_iov = (void *)remote(g, &room->iov), .msg_iovlen = 1,
		.msg_control = (void *)remote(g, &room->control),
		.msg_controllen = sizeof(room->control),
	};
	r = call(g, SYS_recvmsg, (uint64_t)room->pair[0], remote(g, &room->message),
		 MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 0, err);
	if (r < 0)
		return (int)r;
	if (room->message.msg_controllen < CMSG_LEN(sizeof(int)) ||
	    c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EMFILE;         /* it may have no more */
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* Through a pair of sockets that both ends are closed of at once. */
static int hand(const struct cor_ghost *g, int fd, struct cor_error *err)
{
	struct room *room = room_of(g);
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, g->t->pid, 0), ours = -1;
	int64_t r;
	int got;

	if (pidfd < 0)
		return -errno;
	r = call(g, SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, remote(g, room->pair), err);
	if (r < 0)
		return (int)r;
	ours = (int)syscall(SYS_pidfd_getfd, pidfd, room->pair[1], 0);
	got = ours < 0 ? -errno : cor_send_fds(ours, "f", 1, &fd, 1);
	if (got >= 0)
		got = receive(g, err);
	for (unsigned i = 0; i < 2; i++)
		call(g, SYS_close, (uint64_t)room->pair[i], 0, 0, 0, NULL);
	return got;
}

int cor_ghost_give(struct cor_ghost *g, struct cor_tracee *t, int fd, struct cor_error *err)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int r = need_room(t, err);

	if (r < 0)
		return r;
	*g = (struct cor_ghost){ .t = t, .fd = -1 };
	r = hand(g, fd, err);
	if (r < 0)
		return cor_fail_code(err, r, "process %d cannot be given a descriptor", t->pid);
	g->fd = r;
	g->at = remote(g, room_of(g)->block);
	g->lifted = prlimit(t->pid, RLIMIT_MEMLOCK, &all, &g->memlock) == 0;
	return 0;
}

int cor_ghost_ioctl(struct cor_ghost *g, unsigned long request, void *block, size_t len,
		    struct cor_error *err)
{
	struct room *room = room_of(g);
	int64_t r;

	if (g->fd < 0 || len > sizeof(room->block))
		return cor_fail(err, -EINVAL, "process %d: no such call", g->t->pid);
	memcpy(room->block, block, len);
	r = call(g, SYS_ioctl, (uint64_t)g->fd, request, g->at, 0, err);
	memcpy(block, room->block, len);
	return r < 0 ? cor_fail_code(err, (int)r, "process %d: ioctl", g->t->pid) : (int)r;
}

void cor_ghost_leave(struct cor_ghost *g)
{
	if (g->fd < 0 || !g->t)
		return;
	call(g, SYS_close, (uint64_t)g->fd, 0, 0, 0, NULL);
	if (g->lifted)
		prlimit(g->t->pid, RLIMIT_MEMLOCK, &g->memlock, NULL);
	g->fd = -1;
}
