/* The public exporter: a memory source, a page server and a gate in front of it.
 * See cor/export.h. */
#include <cor/export.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/gate.h"
#include "libcor/paging/server.h"
#include "libcor/paging/ticket.h"

#define PAGE (UINT64_C(1) << COR_PAGE_SHIFT)

struct cor_export {
	struct cor_page_server *server;
	struct cor_gate *gate;
	struct cor_ticket parts;
	char ticket[COR_TICKET_TEXT];
};

static void admit(void *arg, struct cor_stream *lane, enum cor_connection_kind kind)
{
	struct cor_export *e = arg;

	/* Without a thread for it the lane is closed, and the peer sees that. */
	(void)cor_page_server_add_lane(e->server, lane, kind, NULL);
}

/* "host:port" of the ticket: the advertised host, or the one listened on. */
static int make_addrport(const struct cor_export_options *o, int port, char *out, size_t size,
			 struct cor_error *err)
{
	struct cor_addrport a;
	int r = cor_addrport_parse(o->listen, &a, err);
	const char *host = o->advertise ? o->advertise : a.host;

	if (r < 0)
		return r;
	if (!host[0] || (!o->advertise && (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)))
		return cor_fail(err, -EINVAL, "an export that listens on %s must be told which host to "
				"advertise", o->listen);
	r = snprintf(out, size, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
	if (r < 0 || (size_t)r >= size)
		return cor_fail(err, -EINVAL, "the host to advertise is too long");
	return 0;
}

/* A new identity and secret, and the ticket's text. */
static int make_ticket(struct cor_ticket *t, char text[COR_TICKET_TEXT], struct cor_error *err)
{
	int r = cor_secret_make(t->id, sizeof(t->id), err);

	if (r == 0)
		r = cor_secret_make(t->secret, sizeof(t->secret), err);
	return r < 0 ? r : cor_ticket_format(t, text, err);
}

static const struct cor_transport_ops *choose_transport(const struct cor_export_options *o)
{
	if (o->flags & COR_EXPORT_ENCRYPT)
		return &cor_transport_tls;
	if (o->flags & COR_EXPORT_CLEAR || cor_addrport_is_loopback(o->listen) == 1)
		return &cor_transport_tcp;
	return &cor_transport_tls;
}

/* Gate and ticket of e, whose server exists. */
static int set_up(struct cor_export *e, uint64_t size, const struct cor_export_options *o,
		  struct cor_error *err)
{
	struct cor_gate_options gate = {
		.transport = choose_transport(o), .listen = o->listen, .expire_s = o->expire_s,
		.admit = admit, .arg = e,
	};
	int r = cor_gate_new(&e->gate, &gate, err);

	e->parts.size = (size + PAGE - 1) & ~(PAGE - 1);
	strcpy(e->parts.transport, gate.transport->name);
	if (r > 0)
		r = make_addrport(o, r, e->parts.addrport, sizeof(e->parts.addrport), err);
	if (r == 0)
		r = make_ticket(&e->parts, e->ticket, err);
	if (r < 0)
		return r;
	cor_gate_renew(e->gate, e->parts.id, e->parts.secret);
	return cor_gate_open(e->gate, err);
}

static int check_options(const struct cor_export_options *o, struct cor_error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(o->reserved); i++)
		if (o->reserved[i])
			return cor_fail(err, -EINVAL, "an export option is not known to this version");
	if (o->flags & ~(unsigned)(COR_EXPORT_ENCRYPT | COR_EXPORT_CLEAR))
		return cor_fail(err, -EINVAL, "export flags 0x%x are not known to this version",
				o->flags);
	if (o->flags == (COR_EXPORT_ENCRYPT | COR_EXPORT_CLEAR))
		return cor_fail(err, -EINVAL, "an export is encrypted or in the clear, not both");
	return 0;
}

/* Takes ownership of source, also on failure. */
static int export_source(struct cor_export **out, struct cor_source *source, uint64_t size,
			 const struct cor_export_options *options, struct cor_error *err)
{
	struct cor_export_options o = options ? *options : (struct cor_export_options){ 0 };
	struct cor_export *e;
	int r = check_options(&o, err);

	if (!o.listen)
		o.listen = "127.0.0.1:0";
	e = r == 0 ? calloc(1, sizeof(*e)) : NULL;
	if (!e) {
		cor_source_close(source);
		return r < 0 ? r : cor_fail(err, -ENOMEM, "making an export: out of memory");
	}
	r = cor_page_server_new(&e->server, source, err);
	if (r == 0)
		r = set_up(e, size, &o, err);
	if (r < 0) {
		cor_export_close(e);
		return r;
	}
	*out = e;
	return 0;
}

int cor_export_memory(struct cor_export **out, const void *addr, size_t len,
		      const struct cor_export_options *options, struct cor_error *err)
{
	struct cor_source *source;
	int r = cor_source_self(&source, addr, len, err);

	return r < 0 ? r : export_source(out, source, len, options, err);
}

int cor_export_process(struct cor_export **out, pid_t pid, uint64_t addr, size_t len,
		       const struct cor_export_options *options, struct cor_error *err)
{
	struct cor_source *process, *window;
	int r = cor_source_process(&process, pid, err);

	if (r < 0)
		return r;
	/* the reader has neither the process's files nor its shared memory */
	cor_source_process_whole_files(process);
	r = cor_source_window(&window, process, addr, len, err);
	return r < 0 ? r : export_source(out, window, len, options, err);
}

int cor_export_file(struct cor_export **out, int fd, off_t off, size_t len,
		    const struct cor_export_options *options, struct cor_error *err)
{
	struct cor_source *source;
	char path[32];
	int own, r;

	/* Opened anew rather than duplicated: looking for holes moves the file
	 * position, and a duplicate would share it with the caller. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return cor_fail_errno(err, "opening descriptor %d anew", fd);
	r = cor_source_file(&source, own, off, len, err);
	return r < 0 ? r : export_source(out, source, len, options, err);
}

const char *cor_export_ticket(const struct cor_export *e)
{
	return e->ticket;
}

int cor_export_revoke(struct cor_export *e, struct cor_error *err)
{
	struct cor_ticket next = e->parts;
	char text[COR_TICKET_TEXT];
	int r = make_ticket(&next, text, err);

	if (r == 0) {
		cor_gate_renew(e->gate, next.id, next.secret);
		/* those that were admitted before; nothing admits them any more */
		cor_page_server_drop_lanes(e->server);
		e->parts = next;
		memcpy(e->ticket, text, sizeof(text));
	}
	explicit_bzero(&next, sizeof(next));
	explicit_bzero(text, sizeof(text));
	return r;
}

void cor_export_stats(struct cor_export *e, struct cor_export_stats *out)
{
	struct cor_page_server_stats s;

	cor_page_server_stats(e->server, &s);
	*out = (struct cor_export_stats){
		.requests = s.requests_demand + s.requests_bulk,
		.pages_sent = s.pages_sent,
		.pages_zero = s.pages_zero,
		.bytes_sent = s.bytes_sent,
		.refused = cor_gate_refused(e->gate),
		.connections = s.lanes,
	};
}

void cor_export_close(struct cor_export *e)
{
	if (!e)
		return;
	cor_gate_free(e->gate);
	cor_page_server_free(e->server);
	explicit_bzero(e, sizeof(*e));
	free(e);
}
