/* What a pump tells cord, and with that cor status, of itself: a file beside its socket,
 * written anew when something has changed, so that nobody has to ask. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/private.h"
#include "libcor/transport/tcp.h"

#define SHOW_NS UINT64_C(1000000000)    /* figures are no older */

static void name_file(const struct pump *p, char *path, size_t size)
{
	char id[2 * COR_SESSION_ID + 1];

	cor_pump_id_text(p->id, id);
	snprintf(path, size, "%s/status.%d.%.16s", p->plan->dir, (int)p->task, id);
}

/* As a string of JSON: what would need to be escaped is left out. */
static void put_name(char *to, size_t size, const char *name)
{
	size_t n = 0;

	for (; *name && n + 1 < size; name++)
		if ((unsigned char)*name >= ' ' && *name != '"' && *name != '\\')
			to[n++] = *name;
	to[n] = 0;
}

/* The channels that lead outside still, and the bytes and events that have gone through. */
static void put_channels(const struct pump *p, char *list, size_t size, uint64_t *sent,
			 uint64_t *received)
{
	const struct pump_slot *s;
	unsigned connections = 0;
	char name[128];
	size_t n = 0;

	list[0] = 0;
	*sent = *received = 0;
	DL_FOREACH(p->slots, s) {
		*sent += s->channel.out.end;
		*received += s->channel.in.end;
		if (cor_pump_channel_is_over(&s->channel) || n >= size)
			continue;
		/* a server has many: how many is what matters */
		if (s->about->kind == COR__NAMES__PUMP_KIND__PUMP_TCP) {
			connections++;
			continue;
		}
		put_name(name, sizeof(name), s->channel.id == 0 ? "parent" : s->about->what);
		n += (size_t)snprintf(list + n, size - n, "%s\"%s\"", n ? ", " : "", name);
	}
	if (connections && n < size)
		n += (size_t)snprintf(list + n, size - n, "%s\"%u TCP connections\"", n ? ", " : "",
				      connections);
	/* cut short in the middle of a name: none, rather than no JSON at all */
	if (n >= size)
		list[0] = 0;
}

void pump_show(struct pump *p, uint64_t now)
{
	char path[300], home[COR_ADDRPORT_TEXT], host[80], list[1024], text[sizeof(p->shown)];
	uint64_t sent, received;

	if (p->plan->side != COR_PUMP_AWAY || !p->started || !p->path[0])
		return;
	p->show_again = now < p->show_ns;
	if (p->show_again)
		return;
	put_channels(p, list, sizeof(list), &sent, &received);
	put_name(home, sizeof(home), p->home);
	put_name(host, sizeof(host), p->host);
	snprintf(text, sizeof(text), "{\"pid\": %d, \"pump\": %d, \"host\": \"%s\", \"address\": "
		 "\"%s\", \"connected\": %s, \"leads_to\": [%s], \"bytes_received\": %llu, "
		 "\"bytes_sent\": %llu}\n", (int)p->task, (int)getpid(), host, home,
		 pump_conn_attached(p) ? "true" : "false", list, (unsigned long long)received,
		 (unsigned long long)sent);
	if (strcmp(text, p->shown) == 0)
		return;
	strcpy(p->shown, text);
	p->show_ns = now + SHOW_NS;
	name_file(p, path, sizeof(path));
	if (cor_replace(AT_FDCWD, path, text) < 0)
		p->shown[0] = 0;        /* tried again */
}

void pump_show_end(struct pump *p)
{
	char path[300];

	if (p->plan->side != COR_PUMP_AWAY || !p->task)
		return;
	name_file(p, path, sizeof(path));
	unlink(path);
}
