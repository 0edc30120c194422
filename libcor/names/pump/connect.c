/* Connecting home takes as long as it takes, and nobody may wait for it meanwhile: a
 * thread for each attempt, which tells what came of it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/private.h"
#include "libcor/transport/lane.h"
#include "libcor/transport/tcp.h"

#define AGAIN_NS   UINT64_C(500000000)

struct attempt {
	char     home[COR_ADDRPORT_TEXT];
	uint8_t  id[COR_SESSION_ID], secret[COR_SECRET];
	unsigned connect_s, silence_s;
	bool     encrypted;
	int      tell;
};

struct outcome {
	struct cor_stream *stream;
	int r;                  /* 0, or -errno with err */
	struct cor_error err;
};

static void *connect_home(void *arg)
{
	struct attempt *a = arg;
	struct outcome o = { .err = COR_ERROR_INIT };
	struct cor_lane_options how = {
		.addrport = a->home, .kind = COR_CONN_PUMP, .session = a->id, .secret = a->secret,
		.timeout_ms = a->connect_s * 1000, .silence_s = a->silence_s,
		.encrypted = a->encrypted,
	};

	o.r = cor_lane_connect(&o.stream, &how, &o.err);
	/* the process may be ending: then nobody hears it, and so be it */
	if (send(a->tell, &o, sizeof(o), MSG_NOSIGNAL) != (ssize_t)sizeof(o) && o.r == 0)
		cor_stream_close(o.stream);
	explicit_bzero(a, sizeof(*a));
	free(a);
	return NULL;
}

void pump_connect_begin(struct pump *p)
{
	struct attempt *a = calloc(1, sizeof(*a));
	pthread_attr_t attr;
	pthread_t thread;
	int r = a ? 0 : ENOMEM;

	p->connect_ns = cor_now_ns() + AGAIN_NS;
	if (a) {
		snprintf(a->home, sizeof(a->home), "%s", p->home);
		memcpy(a->id, p->id, sizeof(a->id));
		memcpy(a->secret, p->secret, sizeof(a->secret));
		a->connect_s = p->plan->connect_s;
		a->silence_s = p->plan->silence_s;
		a->encrypted = p->plan->encrypted;
		a->tell = p->connector;
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		r = pthread_create(&thread, &attr, connect_home, a);
		pthread_attr_destroy(&attr);
	}
	if (r == 0) {
		p->connecting = true;
		return;
	}
	free(a);
	pump_control_reached(p, -r, NULL);
}

void pump_connect_done(struct pump *p)
{
	struct outcome o;
	ssize_t n = recv(p->connected, &o, sizeof(o), MSG_DONTWAIT);

	if (n != (ssize_t)sizeof(o))
		return;
	p->connecting = false;
	p->connect_ns = cor_now_ns() + AGAIN_NS;
	if (o.r == 0) {
		pump_conn_add(p, o.stream, NULL);
		return;
	}
	pump_control_reached(p, o.r, &o.err);
	/* home's pump is no more, or not ours: what was outside of the task is gone. But where
	 * there is encryption that was said outside of it, and anybody could. */
	if (p->started && !p->frozen && !p->plan->encrypted && (o.r == -ENOENT || o.r == -EPERM)) {
		p->ending = true;
		p->status = pump_is_over(p) ? 0 : 1;
	}
}
