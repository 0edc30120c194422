/* What the network notices, at the destination: addresses that move along, and the
 * connections, which a thread makes while the task is rebuilt. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/destination/destination.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* The address at which the source has reached us. */
static bool reached_at(const struct destination *d, struct cor_inet_addr *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	ProtobufCBinaryData bytes = { .data = (uint8_t *)&ss };

	if (getsockname(d->args->control, (struct sockaddr *)&ss, &len) < 0)
		return false;
	bytes.len = len;
	return cor_inet_addr_of(&bytes, out) == 0;
}

int destination_network_begin(struct destination *d, struct cor_error *err)
{
	struct cor_inet_addr via;
	bool known = reached_at(d, &via);
	int r = 0;

	if (d->files->n_addresses)
		r = cor_mechanism_require(&d->mechanisms, COR_MECHANISM_TCP,
					  "an address that moves along", err);
	return r < 0 ? r : cor_arrival_new(&d->arrival, d->files, known ? &via : NULL, err);
}

size_t destination_hardware(struct destination *d, ProtobufCBinaryData out[COR_ADDRESSES_MAX])
{
	const uint8_t *hwaddr;
	size_t n = 0;

	for (; (hwaddr = cor_arrival_hwaddr(d->arrival, (unsigned)n)); n++)
		out[n] = (ProtobufCBinaryData){ 6, (uint8_t *)hwaddr };
	return n;
}

static void *connect_all(void *arg)
{
	struct destination *d = arg;

	d->connect_rc = cor_arrival_build(d->arrival, cor_rebuild_pid(d->rebuild), d->files,
					  &d->connect_error);
	return NULL;
}

void destination_connect(struct destination *d)
{
	if (!cor_arrival_needed(d->files))
		return;
	d->connect_error = (struct cor_error)COR_ERROR_INIT;
	/* it and its helpers would have to run where we do, and in our turns */
	cor_rebuild_turns_end(d->rebuild);
	d->connecting = pthread_create(&d->connector, NULL, connect_all, d) == 0;
	cor_rebuild_turns_begin(d->rebuild);
	if (!d->connecting)
		connect_all(d);
}

int destination_connected(struct destination *d, struct cor_error *err)
{
	if (d->connecting)
		pthread_join(d->connector, NULL);
	d->connecting = false;
	if (d->connect_rc < 0 && err)
		*err = d->connect_error;
	return d->connect_rc;
}

void destination_disconnect(struct destination *d)
{
	destination_connected(d, NULL);
	d->connect_rc = 0;
	if (d->arrival)
		cor_arrival_drop(d->arrival);
}

/* The source must not have its address back once it is here: from now on the task runs
 * here or nowhere, and nothing in this may keep it from that. */
void destination_network_take(struct destination *d)
{
	struct cor_error err = COR_ERROR_INIT;

	if (cor_arrival_hwaddr(d->arrival, 0))
		atomic_store(&d->session.page->let_go, true);
	if (cor_arrival_take(d->arrival, &err) < 0)
		json_object_set_new(d->session.figures, "network_error", json_string(err.text));
}

void destination_announce(struct destination *d)
{
	uint64_t now = cor_now_ns();
	int ms;

	if (!d->announce_ns || now < d->announce_ns)
		return;
	ms = cor_arrival_announce(d->arrival);
	d->announce_ns = ms < 0 ? 0 : now + (uint64_t)ms * 1000000;
}

void destination_announce_all(struct destination *d)
{
	while (d->announce_ns) {
		uint64_t now = cor_now_ns();

		if (now < d->announce_ns)
			poll(NULL, 0, (int)((d->announce_ns - now) / 1000000) + 1);
		destination_announce(d);
	}
}
