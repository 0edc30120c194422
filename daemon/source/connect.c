/* A connection to the destination's cord. */
#include "daemon/source/source.h"

#include "daemon/control.h"
#include "daemon/keys.h"
#include "libcor/base/error.h"

static int verify(void *arg, struct cor_stream *stream, struct cor_error *err)
{
	const struct source *s = arg;

	return cord_keys_verify(s->args->config, s->args->peer, stream, err);
}

int source_connect(const struct source *s, enum cor_connection_kind kind, const uint8_t *session,
		   const uint8_t *secret, int timeout_ms, struct cor_stream **out,
		   struct cor_error *err)
{
	struct cor_lane_options o = {
		.addrport = s->args->dest, .kind = kind, .session = session, .secret = secret,
		.timeout_ms = (unsigned)timeout_ms,
		/* the serving part's first is no loss that anybody should see */
		.index = kind == COR_CONN_CONTROL && session && s->first_join,
		.silence_s = s->args->config->timeouts.silence_s,
		.encrypted = cord_keys_set(s->args->config),
		.keys = s->keys, .psk = s->psk, .verify = verify, .arg = (void *)s,
	};

	return cor_lane_connect(out, &o, err);
}

int source_refused(const struct source *s, const struct control_message *abort, struct cor_error *err)
{
	int r = control_aborted(abort, err);

	return cor_fail_prefix(err, r, "%s refuses", s->args->dest);
}
