/* Between the tracer and the serving part: JSON over SOCK_SEQPACKET, with descriptors. */
#include "daemon/source/source.h"

#include <errno.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

int source_link_say(int link, json_t *message, const int *fds, unsigned nfds)
{
	_cleanup_free_ char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	json_decref(message);
	return text ? cor_send_fds(link, text, strlen(text), fds, nfds) : -ENOMEM;
}

int source_link_hear(int link, json_t **out, int *fds, unsigned *nfds)
{
	char buf[WORKER_MESSAGE_MAX];
	ssize_t n = cor_recv_fds(link, buf, sizeof(buf), fds, nfds);

	if (n <= 0)
		return n ? (int)n : -EPIPE;
	*out = json_loadb(buf, (size_t)n, 0, NULL);
	return *out ? 0 : -EPROTO;
}
