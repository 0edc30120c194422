/* Keeping packets off sockets, and repair mode; see net/tcp_repair.h. A socket's filter
 * runs before anything in the packet has an effect, so that what it drops was never
 * received. No rule of a packet filter's is needed, and it is gone with the socket. */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/names/net/tcp_repair.h"

#define TCP_FLAGS_AT 13         /* in the TCP header, where such a filter's packets begin */
#define SYN 0x02
#define ACK 0x10

bool cor_tcp_fin_received(uint32_t state)
{
	return state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

bool cor_tcp_fin_written(uint32_t state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_LAST_ACK ||
	       state == TCP_CLOSING;
}

int cor_tcp_silencer(void)
{
	/* r0 = 0; exit: keep nothing of the packet */
	static const struct bpf_insn drop[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uint64_t)(uintptr_t)drop, .insn_cnt = ARRAY_SIZE(drop),
		.license = (uint64_t)(uintptr_t)"GPL",
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));

	return fd < 0 ? -errno : fd;
}

static int attach(int fd, struct sock_filter *code, unsigned short len)
{
	struct sock_fprog prog = { .len = len, .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

static bool listens(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

static int set_repair(int fd, int how)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &how, sizeof(how)) < 0 ? -errno : 0;
}

int cor_tcp_silence(int fd, int silencer)
{
	struct sock_filter drop[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	int r = 0;

	if (silencer >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &silencer,
					sizeof(silencer)) < 0)
		r = -errno;
	else if (silencer < 0)
		r = attach(fd, drop, ARRAY_SIZE(drop));
	if (r == 0 && !listens(fd)) {
		r = set_repair(fd, TCP_REPAIR_ON);
		if (r < 0)
			cor_tcp_ungate(fd);
	}
	return r;
}

void cor_tcp_unsilence(int fd, int reuse)
{
	cor_tcp_ungate(fd);
	/* asks the peer for an acknowledgement as well: those that came were dropped */
	if (!listens(fd) && set_repair(fd, TCP_REPAIR_OFF) == 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
}

int cor_tcp_gate(int fd)
{
	struct sock_filter no_syn[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};

	return attach(fd, no_syn, ARRAY_SIZE(no_syn));
}

void cor_tcp_ungate(int fd)
{
	int ignored = 0;

	setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof(ignored));
}

void cor_tcp_forget(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	connect(fd, &none, sizeof(none));
}
