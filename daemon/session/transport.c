/* What both sides need to agree on a transport; see transport.h. */
#include "daemon/session/transport.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/keys.h"
#include "libcor/base/error.h"

int session_transports(struct cor_transports *out, const struct cord_config *c,
		       const char *asked, struct cor_error *err)
{
	struct cor_transports t = c->paging.transports;
	int r = asked[0] ? cor_transports_parse(asked, &c->paging.transports, &t, err) : 0;

	if (r < 0)
		return r;
	if (!session_fabrics(c)) {
		if (asked[0] && asked[0] != '!' && !t.tcp_named)
			return cor_fail(err, -EPERM, "the transport %s does not encrypt, and there are "
					"keys (unencrypted-fabrics in [keys] permits it)", asked);
		t.n = 1;
		strcpy(t.name[0], "tcp");
	}
	*out = t;
	return 0;
}

bool session_fabrics(const struct cord_config *c)
{
	return !cord_keys_set(c) || c->keys.fabrics;
}

void session_warn(struct session *s, const char *fmt, ...)
{
	json_t *list = json_object_get(s->figures, "warnings");
	char text[COR_ERROR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!list) {
		list = json_array();
		json_object_set_new(s->figures, "warnings", list);
	}
	json_array_append_new(list, json_string(text));
	session_report(s);
}
