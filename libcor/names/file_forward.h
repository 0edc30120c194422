/* TCP and UDP sockets whose address stays (pump/tcp.h, pump/udp.h), as file_pump.c asks
 * about them. */
#pragma once

#include "libcor/names/file_ops.h"

/* Is it one of a channel's? A UNIX socket is none. */
bool cor_forward_is_inet(const Cor__Names__PumpChannel *ch);

/* A socket that is to stay here, or a TCP socket that has come from elsewhere and is not
 * known yet. */
bool cor_forward_stays(const struct cor_file_capture *c, const struct cor_file_seen *seen);

/* Its channel: what goes into ch, of which kind and identity are set as well. */
int cor_forward_describe(const struct cor_file_seen *seen, Cor__Names__PumpChannel *ch);

/* What of the socket itself the task sees. known: its channel was there before. */
int cor_forward_capture(struct cor_file_capture *c, const struct cor_file_seen *seen, bool known,
			Cor__Names__OpenFile *out, struct cor_error *err);

/* What the task has not read: out->unread, for cor_pump_state_prepend(). arrived: PumpChannel's.
 * -EAGAIN: more comes all the while. */
int cor_forward_unread(const struct cor_file_seen *seen, uint64_t arrived,
		       Cor__Names__OpenFile *out, struct cor_error *err);

/* On the destination: can there be such sockets? -EPERM, ... */
int cor_forward_check(const Cor__Names__OpenFile *file, int number, struct cor_error *err);

/* Has this process the rights that it takes? */
bool cor_forward_possible(void);
