/* Lists of transports; see choice.h. */
#include "libcor/transport/choice.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/rdma.h"
#include "libcor/transport/transport.h"

#define BETWEEN " \t,"

const struct cor_transports cor_transports_default = {
	.n = 4, .tcp_named = true, .name = { "verbs", "fabric:verbs", "fabric:efa", "tcp" },
};

bool cor_transports_have(const struct cor_transports *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (strcmp(t->name[i], name) == 0)
			return true;
	return false;
}

/* By their form: a backend that is not built in here may be in another host. */
bool cor_transport_is_known(const char *name)
{
	return cor_transport_find(name) || strcmp(name, "verbs") == 0 ||
	       (strncmp(name, "fabric:", 7) == 0 && name[7]);
}

bool cor_transport_is_built(const char *name)
{
	const char *provider;

	return cor_transport_find(name) || cor_rdma_find(name, &provider);
}

/* RDMA adapters, software ones too, are listed there. */
static bool host_has_adapters(void)
{
	_cleanup_closedir_ DIR *d = opendir("/sys/class/infiniband");
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			return true;
	return false;
}

bool cor_transport_plausible(const char *name)
{
	const char *provider;

	if (!cor_transport_is_built(name))
		return false;
	if (!cor_rdma_find(name, &provider))
		return true;
	/* other providers are software, or drivers of their own */
	if (strcmp(name, "verbs") == 0 || strncmp(provider, "verbs", 5) == 0 ||
	    strcmp(provider, "efa") == 0)
		return host_has_adapters();
	return true;
}

int cor_transport_probe(const char *name, struct cor_error *err)
{
	const struct cor_rdma_ops *ops;
	const char *provider;
	unsigned caps;

	if (cor_transport_find(name))
		return 0;
	ops = cor_rdma_find(name, &provider);
	if (!ops)
		return cor_fail(err, -ENOTSUP, "cor was built without %s", name);
	return ops->probe(provider, &caps, err);
}

/* The next name of *text, which moves on. False: none. */
static bool next_name(const char **text, char *name, size_t size, size_t *len)
{
	const char *at = *text + strspn(*text, BETWEEN);

	*len = strcspn(at, BETWEEN);
	*text = at + *len;
	snprintf(name, size, "%.*s", (int)*len, at);
	return *len > 0;
}

static int add(struct cor_transports *t, const char *name, struct cor_error *err)
{
	if (cor_transports_have(t, name))
		return 0;
	/* the last place is for tcp */
	if (t->n == COR_TRANSPORTS - 1)
		return cor_fail(err, -E2BIG, "more than %u transports", COR_TRANSPORTS);
	strcpy(t->name[t->n++], name);
	return 0;
}

static int leave_out(struct cor_transports *t, const char *name, struct cor_error *err)
{
	if (strcmp(name, "tcp") == 0)
		return cor_fail(err, -EINVAL, "the transport tcp cannot be left out");
	for (unsigned i = 0; i < t->n; i++) {
		if (strcmp(t->name[i], name) != 0)
			continue;
		memmove(t->name[i], t->name[i + 1], (t->n - i - 1) * sizeof(t->name[0]));
		t->n--;
		break;
	}
	return 0;
}

int cor_transports_parse(const char *text, const struct cor_transports *base,
			 struct cor_transports *out, struct cor_error *err)
{
	struct cor_transports named = { 0 }, rest = *base;
	unsigned to_use = 0, not_to_use = 0;
	char name[COR_TRANSPORT_TEXT + 1];
	bool tcp = false;
	size_t len;
	int r = 0;

	while (r == 0 && next_name(&text, name, sizeof(name), &len)) {
		const char *bare = name + (name[0] == '!');

		if (len > COR_TRANSPORT_TEXT - 1 || !cor_transport_is_known(bare))
			return cor_fail(err, -EINVAL, "there is no transport \"%.40s\": there are tcp, "
					"verbs, and fabric:PROVIDER", bare);
		if (bare != name) {
			not_to_use++;
			r = leave_out(&rest, bare, err);
			continue;
		}
		to_use++;
		/* what is behind it would never be used */
		tcp |= strcmp(bare, "tcp") == 0;
		if (!tcp)
			r = add(&named, bare, err);
	}
	if (r < 0)
		return r;
	if (to_use && not_to_use)
		return cor_fail(err, -EINVAL, "a list of transports names those to use, or with \"!\" "
				"those not to use, not both");
	if (!to_use && !not_to_use)
		return cor_fail(err, -EINVAL, "the list of transports is empty");
	if (to_use)
		strcpy(named.name[named.n++], "tcp");
	named.tcp_named = tcp;
	*out = to_use ? named : rest;
	return 0;
}
