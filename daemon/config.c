/* What cord's configuration says; see config.h. */
#include "daemon/config.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/address.h"
#include "daemon/config_private.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/tcp.h"

/* A user's own cord has its place among what is his at run time (pam_systemd(8)). */
static void init_places(struct cord_config *c)
{
	const char *own = geteuid() ? getenv("XDG_RUNTIME_DIR") : NULL;

	snprintf(c->control, sizeof(c->control), "%s", CORD_DEFAULT_CONTROL);
	snprintf(c->state_dir, sizeof(c->state_dir), "%s", CORD_DEFAULT_STATE);
	if (!own || own[0] != '/' || strlen(own) > sizeof(c->control) / 2)
		return;
	snprintf(c->control, sizeof(c->control), "%s/cor/cord.sock", own);
	snprintf(c->state_dir, sizeof(c->state_dir), "%s/cor/state", own);
}

void cord_config_init(struct cord_config *c)
{
	memset(c, 0, sizeof(*c));
	if (gethostname(c->name, sizeof(c->name) - 1) < 0 || !c->name[0])
		snprintf(c->name, sizeof(c->name), "cord");
	snprintf(c->listen, sizeof(c->listen), "%s", CORD_DEFAULT_LISTEN);
	init_places(c);
	c->paging.prefetch = true;
	c->paging.huge_pages = true;
	c->paging.spin_us = 200;
	c->paging.rdma_pin_mib = 256;
	c->paging.transports = cor_transports_default;
	c->task.sleepers = true;
	c->timeouts.preamble_s = 10;
	c->timeouts.connect_s = 10;
	c->timeouts.prepare_s = 60;
	c->timeouts.freeze_ms = 10000;
	c->timeouts.silence_s = 10;
	c->timeouts.reconnect_s = 0;
	c->timeouts.tell_s = 3600;
}

void cord_config_clear(struct cord_config *c)
{
	free(c->peers);
	free(c->files);
	c->peers = NULL;
	c->files = NULL;
	c->npeers = c->nfiles = 0;
}

int config_bad(struct reading *r, const char *what, const char *name)
{
	/* inih goes on after an error; the first one is the one to tell */
	if (!r->failed) {
		r->failed = cor_fail(r->err, -EINVAL, "%s:%d: %s \"%s\"", r->path, r->line, what,
				     name);
		r->failed_line = r->line;
	}
	return 0;
}

int cord_config_control(const struct cord_config *c, mode_t *mode, gid_t *group,
			struct cor_error *err)
{
	const struct group *gr = c->control_group[0] ? getgrnam(c->control_group) : NULL;

	if (c->control_group[0] && !gr)
		return cor_fail(err, -ENOENT, "there is no group \"%s\" for the control socket",
				c->control_group);
	*group = gr ? gr->gr_gid : (gid_t)-1;
	*mode = c->control_mode ? c->control_mode : gr ? 0660 : 0600;
	return 0;
}

int cord_config_self(const struct cord_config *c, char *out, size_t size)
{
	struct cor_addrport a;
	int r = cor_addrport_parse(c->listen, &a, NULL);

	if (r < 0)
		return r;
	if (!a.host[0] || !strcmp(a.host, "0.0.0.0") || !strcmp(a.host, "::"))
		snprintf(out, size, "127.0.0.1:%s", a.port);
	else
		snprintf(out, size, "%s", c->listen);
	return 0;
}

struct cor_tree_wish *cord_config_files(const struct cord_config *c, const char *peer, unsigned *n)
{
	struct cor_tree_wish *out = calloc(c->nfiles + 1, sizeof(*out));

	*n = 0;
	for (unsigned pass = 0; out && pass < 2; pass++)
		for (unsigned i = 0; i < c->nfiles; i++)
			if (pass ? !strcmp(c->files[i].peer, peer) && peer[0] :
				   !c->files[i].peer[0])
				out[(*n)++] = c->files[i].wish;
	return out;
}

void cord_config_pumps(const struct cord_config *c, char *path, size_t size)
{
	const char *slash = strrchr(c->control, '/');

	snprintf(path, size, "%.*s/pumps", slash ? (int)(slash - c->control) : 0, c->control);
}

const struct cord_peer *cord_config_find_peer(const struct cord_config *c, const char *dest)
{
	for (unsigned i = 0; i < c->npeers; i++)
		if (!strcmp(c->peers[i].name, dest))
			return &c->peers[i];
	for (unsigned i = 0; i < c->npeers; i++)
		if (!strcmp(c->peers[i].address, dest))
			return &c->peers[i];
	return NULL;
}

const char *cord_config_peer(const struct cord_config *c, const char *dest)
{
	const struct cord_peer *p = cord_config_find_peer(c, dest);

	if (p)
		return p->address[0] ? p->address : NULL;
	return cord_address_valid(dest) ? dest : NULL;
}
