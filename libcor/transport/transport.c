/* The table of transport backends. */
#include "libcor/transport/transport.h"

#include <string.h>

#include "libcor/base/cleanup.h"

static const struct cor_transport_ops *const backends[] = {
	&cor_transport_tcp,
	&cor_transport_tls,
};

const struct cor_transport_ops *cor_transport_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(backends); i++)
		if (strcmp(backends[i]->name, name) == 0)
			return backends[i];
	return NULL;
}
