/* One connection by its two addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/names/net/inet_diag.h"

/* A connection to ourselves, and its listening socket. */
struct pair {
	int listener, client, server;
	struct cor_inet_addr ours, theirs;      /* the client's */
};

static void name_of(int fd, bool peer, struct cor_inet_addr *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	ProtobufCBinaryData text = { 0, (uint8_t *)&ss };
	int r = peer ? getpeername(fd, (struct sockaddr *)&ss, &len) :
		getsockname(fd, (struct sockaddr *)&ss, &len);

	assert_int_equal(r, 0);
	text.len = len;
	assert_int_equal(cor_inet_addr_of(&text, out), 0);
}

static struct pair connect_pair(int family, const struct sockaddr *at, socklen_t len)
{
	struct sockaddr_storage ss;
	socklen_t bound = sizeof(ss);
	struct pair p = { .listener = socket(family, SOCK_STREAM, 0),
			  .client = socket(family, SOCK_STREAM, 0) };

	assert_int_equal(bind(p.listener, at, len), 0);
	assert_int_equal(listen(p.listener, 1), 0);
	assert_int_equal(getsockname(p.listener, (struct sockaddr *)&ss, &bound), 0);
	assert_int_equal(connect(p.client, (struct sockaddr *)&ss, bound), 0);
	p.server = accept(p.listener, NULL, NULL);
	assert_true(p.server >= 0);
	name_of(p.client, false, &p.ours);
	name_of(p.client, true, &p.theirs);
	return p;
}

static void drop(struct pair *p)
{
	close(p->client);
	close(p->server);
	close(p->listener);
}

static uint32_t inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint32_t)st.st_ino;
}

static void assert_both_ends_are_found(struct pair *p)
{
	struct cor_inet_socket s = { 0 };

	assert_int_equal(cor_inet_diag_connection(&p->ours, &p->theirs, &s), 0);
	assert_int_equal(s.ino, inode_of(p->client));
	assert_int_equal(s.state, TCP_ESTABLISHED);
	assert_int_equal(cor_inet_diag_connection(&p->theirs, &p->ours, &s), 0);
	assert_int_equal(s.ino, inode_of(p->server));
}

static struct pair connect_v4(void)
{
	const struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connect_pair(AF_INET, (const struct sockaddr *)&at, sizeof(at));
}

static void both_ends_are_found(void **state)
{
	struct pair p = connect_v4();

	assert_both_ends_are_found(&p);
	drop(&p);
}

static void both_ends_are_found_over_ipv6(void **state)
{
	const struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct pair p;

	if (access("/proc/net/if_inet6", F_OK) < 0)
		skip();
	p = connect_pair(AF_INET6, (const struct sockaddr *)&at, sizeof(at));
	assert_both_ends_are_found(&p);
	drop(&p);
}

/* Of a socket for IPv6 that speaks IPv4. */
static void both_ends_are_found_of_mapped_addresses(void **state)
{
	const struct sockaddr_in6 at = { .sin6_family = AF_INET6,
					 .sin6_addr = { .s6_addr = { [10] = 255, 255, 127, 0, 0, 1 } } };
	struct pair p;

	if (access("/proc/net/if_inet6", F_OK) < 0)
		skip();
	p = connect_pair(AF_INET6, (const struct sockaddr *)&at, sizeof(at));
	assert_int_equal(p.ours.family, AF_INET);
	assert_both_ends_are_found(&p);
	drop(&p);
}

static void who_listens_there_is_no_connection(void **state)
{
	struct pair p = connect_v4();
	struct cor_inet_addr nobody = p.ours;
	struct cor_inet_socket s = { .ino = 1 };

	nobody.port = htons(1);
	assert_int_equal(cor_inet_diag_connection(&p.theirs, &nobody, &s), -ENOENT);
	assert_int_equal(s.ino, 1);
	drop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_are_found),
		cmocka_unit_test(both_ends_are_found_over_ipv6),
		cmocka_unit_test(both_ends_are_found_of_mapped_addresses),
		cmocka_unit_test(who_listens_there_is_no_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
