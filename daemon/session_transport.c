/* What both sides need to agree on a transport; see session_transport.h. */
#include "daemon/session_transport.h"

#include <stdarg.h>
#include <stdio.h>

int session_transports(struct cor_transports *out, const struct cord_config *c,
		       const char *asked, struct cor_error *err)
{
	if (asked[0])
		return cor_transports_parse(asked, &c->paging.transports, out, err);
	*out = c->paging.transports;
	return 0;
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
