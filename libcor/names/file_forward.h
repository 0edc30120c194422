/* TCP sockets whose address stays (pump_tcp.h), as file_pump.c asks about them. */
#pragma once

#include "libcor/names/file_ops.h"

/* Is it one of a channel's? A UNIX socket is none. */
bool cor_forward_is_inet(const Cor__Names__PumpChannel *ch);

/* A TCP socket that is to stay here, or that has come from elsewhere and is not known
 * yet. */
bool cor_forward_stays(const struct cor_file_capture *c, const struct cor_file_seen *seen);

/* Its channel: what goes into ch, of which kind and identity are set as well. */
int cor_forward_describe(const struct cor_file_seen *seen, Cor__Names__PumpChannel *ch);

/* What of the socket itself the task sees. known: its channel was there before. */
int cor_forward_capture(struct cor_file_capture *c, const struct cor_file_seen *seen, bool known,
			Cor__Names__OpenFile *out, struct cor_error *err);

/* What the task has not read: out->unread. */
int cor_forward_unread(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
		       struct cor_error *err);

/* On the destination: can there be such sockets? -EPERM, ... */
int cor_forward_check(int number, struct cor_error *err);

/* A socket of another network namespace than ours: that of a pump. */
bool cor_forward_is_away(int fd);
