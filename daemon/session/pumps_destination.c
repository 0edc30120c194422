/* The destination's pumps: one for each link of the task, which connects to that link's
 * home. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/session/pumps_private.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/tcp.h"

/* Any address: what the host listens on says nothing of where it is. */
static bool is_any(const char *host)
{
	return !host[0] || !strcmp(host, "0.0.0.0") || !strcmp(host, "::") || !strcmp(host, "*");
}

/* Where peer's cord is to be reached: where it listens, or else where it came from. */
static int address_of(const char *peer, const char *listen, char *out, size_t size,
		      struct cor_error *err)
{
	struct cor_addrport from, at;
	int r = cor_addrport_parse(listen, &at, err);

	if (r < 0)
		return cor_fail_prefix(err, r, "the source's own address");
	if (is_any(at.host)) {
		r = cor_addrport_parse(peer, &from, err);
		if (r < 0)
			return r;
		strcpy(at.host, from.host);
	}
	snprintf(out, size, strchr(at.host, ':') ? "[%s]:%s" : "%s:%s", at.host, at.port);
	return 0;
}

static int set_text(char **to, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	if (*to != protobuf_c_empty_string)
		free(*to);
	*to = copy;
	return 0;
}

int destination_pumps_address(Cor__Names__FileTable *table, const char *peer, const char *listen,
			      const char *host, struct cor_error *err)
{
	char home[COR_ADDRPORT_TEXT];

	for (size_t i = 0; i < table->n_links; i++) {
		Cor__Names__PumpLink *link = table->links[i];
		int r;

		if (link->home[0])
			continue;
		r = address_of(peer, listen, home, sizeof(home), err);
		if (r < 0)
			return r;
		if (set_text(&link->home, home) < 0 || set_text(&link->host, host) < 0)
			return cor_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/* What link would be needed for, to name it. */
static const char *name_channel(const Cor__Names__FileTable *table, unsigned link, int *fd)
{
	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__OpenFile *f = table->files[table->descriptors[i]->file];

		if (f->kind != COR__NAMES__FILE_KIND__PUMPED || f->pump_link != link)
			continue;
		*fd = table->descriptors[i]->fd;
		return f->path;
	}
	*fd = -1;
	return table->links[link]->task ? "the place that the task has" : "a pipe that was closed";
}

static int start_one(struct destination_pumps *p, const struct cord_config *config,
		     const Cor__Names__FileTable *table, unsigned i, struct cor_error *err)
{
	Cor__Names__PumpLink link = *table->links[i];
	const char *what;
	int r, fd;

	link.epoch++;           /* one move more */
	link.channels = NULL;
	link.n_channels = 0;
	p->socks[i] = session_pump_start(config, COR_PUMP_AWAY, &link, err);
	if (p->socks[i] < 0)
		return p->socks[i];
	r = cor_pump_ask(p->socks[i], COR_PUMP_REACH, NULL, NULL, 0, NULL, NULL, NULL, err);
	if (r == 0)
		return 0;
	what = name_channel(table, i, &fd);
	if (fd < 0)
		return cor_fail_prefix(err, r, "%s on host %s, which is out of reach from %s", what,
				       link.host, config->name);
	return cor_fail_prefix(err, r, "descriptor %d is %s on host %s, which is out of reach from "
			       "%s", fd, what, link.host, config->name);
}

int destination_pumps_begin(struct destination_pumps *p, const struct cord_config *config,
			    const Cor__Names__FileTable *table, struct cor_error *err)
{
	p->socks = calloc(table->n_links + 1, sizeof(*p->socks));
	if (!p->socks)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (; p->n < table->n_links; p->n++) {
		p->socks[p->n] = -1;
		if (!table->links[p->n]->task || p->watch[0] >= 0)
			continue;
		p->watcher = p->n;
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->watch) < 0)
			return cor_fail_errno(err, "a socket for a supervisor");
	}
	for (unsigned i = 0; i < p->n; i++) {
		int r = start_one(p, config, table, i, err);

		if (r < 0)
			return r;
	}
	return 0;
}

void destination_pumps_handed(struct destination_pumps *p)
{
	for (unsigned i = 0; i < p->nfds; i++)
		cor_closep(&p->fds[i]);
	free(p->fds);
	p->fds = NULL;
	p->nfds = 0;
}

int destination_pumps_make(struct destination_pumps *p, const Cor__Names__FileTable *table,
			   struct cor_error *err)
{
	destination_pumps_handed(p);
	if (table->n_links != p->n)
		return cor_fail(err, -EAGAIN, "the task came to lead to another process while its "
				"migration was prepared; try again");
	p->fds = calloc(cor_pump_channels(table) + 1, sizeof(*p->fds));
	if (!p->fds)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < p->n; i++) {
		_cleanup_free_ int *fds = NULL;
		unsigned n = 0;
		int r = cor_pump_ask(p->socks[i], COR_PUMP_MAKE, table->links[i], NULL, 0, NULL, &fds,
				     &n, err);

		if (r == 0 && n != table->links[i]->n_channels)
			r = cor_fail(err, -EPROTO, "a pump made %u ends of %zu", n,
				     table->links[i]->n_channels);
		for (unsigned k = 0; k < n; k++) {
			if (r == 0)
				p->fds[p->nfds++] = fds[k];
			else
				cor_closep(&fds[k]);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int destination_pumps_terminal(const struct destination_pumps *p,
			       const Cor__Names__FileTable *table, bool *foreground)
{
	unsigned index;
	const Cor__Names__PumpChannel *ch = cor_pump_terminal(table, &index);

	*foreground = ch && ch->foreground;
	return ch && index < p->nfds ? p->fds[index] : -1;
}

/* A task that has only its place at home to go back to has nothing on its way. */
static bool has_load(const Cor__Names__PumpLink *link)
{
	return link->n_channels || (link->task && link->task->state);
}

int destination_pumps_load(struct destination_pumps *p, const Cor__Names__FileTable *table,
			   struct cor_error *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < p->n; i++)
		if (has_load(table->links[i]))
			r = cor_pump_send(p->socks[i], COR_PUMP_LOAD, table->links[i], NULL, 0, err);
	return r;
}

int destination_pumps_loaded(struct destination_pumps *p, const Cor__Names__FileTable *table,
			     struct cor_error *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < p->n; i++)
		if (has_load(table->links[i]))
			r = cor_pump_await(p->socks[i], COR_PUMP_LOAD, NULL, NULL, NULL, err);
	return r;
}

void destination_pumps_share_init(struct destination_pumps_shared *s)
{
	for (unsigned i = 0; i < DESTINATION_PUMPS_SHARED; i++)
		s->socks[i] = -1;
	s->watch = -1;
}

bool destination_pumps_share(const struct destination_pumps *p,
			     struct destination_pumps_shared *s)
{
	if (p->n > DESTINATION_PUMPS_SHARED)
		return false;
	for (unsigned i = 0; i < p->n; i++)
		s->socks[i] = p->socks[i];
	s->watcher = p->watcher;
	s->watch = p->watch[0];
	return true;
}

void destination_pumps_start_shared(struct destination_pumps_shared *s, pid_t pid)
{
	int watch = s->watch;

	for (unsigned i = 0; i < DESTINATION_PUMPS_SHARED; i++) {
		int sock = s->socks[i];

		if (sock < 0)
			continue;
		cor_pump_tell(sock, COR_PUMP_START, pid, NULL, 0, i == s->watcher ? watch : -1);
		s->socks[i] = -1;
		close(sock);
	}
	s->watch = -1;
	cor_closep(&watch);
}

void destination_pumps_start(struct destination_pumps *p, pid_t pid)
{
	for (unsigned i = 0; i < p->n; i++)
		cor_pump_tell(p->socks[i], COR_PUMP_START, pid, NULL, 0,
			      i == p->watcher ? p->watch[0] : -1);
}

void destination_pumps_end(struct destination_pumps *p)
{
	destination_pumps_handed(p);
	for (unsigned i = 0; i < p->n; i++)
		cor_closep(&p->socks[i]);
	cor_closep(&p->watch[0]);
	cor_closep(&p->watch[1]);
	free(p->socks);
}
