/* stranger ADDR:PORT SESSION KIND HOW: connects as a lane (or control channel) of a session
 * whose identity is known, without its secret, and says what became of it.
 *
 *	KIND   control, demand, bulk
 *	HOW    clear   the preamble has a secret, a wrong one
 *	       tls     the handshake has one, a wrong one
 *	       silent  the handshake never comes; waits until it is hung up on
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/transport/lane.h"
#include "libcor/transport/tcp.h"

static void from_hex(uint8_t *out, const char *hex, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned v = 0;

		if (sscanf(hex + 2 * i, "%2x", &v) != 1)
			exit(2);
		out[i] = (uint8_t)v;
	}
}

static int silent(const struct cor_lane_options *o)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_preamble p;
	char byte;
	int fd;

	if (cor_tcp_connect(o->addrport, 5000, &fd, &err) < 0)
		return 1;
	cor_preamble_make(&p, o->kind, 0, o->session, NULL);
	p.security = COR_SECURITY_TLS;
	if (cor_preamble_exchange(fd, &p, 5000, &err) < 0) {
		printf("%s\n", err.text);
		return 1;
	}
	alarm(30);
	while (read(fd, &byte, 1) > 0)
		;
	printf("hung up on\n");
	return 1;
}

int main(int argc, char **argv)
{
	static const uint8_t wrong[COR_SECRET] = { 1, 2, 3 };
	uint8_t session[COR_SESSION_ID];
	struct cor_lane_options o = { .session = session, .secret = wrong, .timeout_ms = 5000 };
	struct cor_error err = COR_ERROR_INIT;
	struct cor_stream *s;

	if (argc != 5)
		return 2;
	o.addrport = argv[1];
	from_hex(session, argv[2], COR_SESSION_ID);
	o.kind = argv[3][0] == 'c' ? COR_CONN_CONTROL : argv[3][0] == 'd' ? COR_CONN_DEMAND :
		 COR_CONN_BULK;
	o.encrypted = strcmp(argv[4], "clear") != 0;
	if (strcmp(argv[4], "silent") == 0)
		return silent(&o);
	if (cor_lane_connect(&s, &o, &err) == 0) {
		printf("came in\n");
		return 0;
	}
	printf("%s\n", err.text);
	return 1;
}
