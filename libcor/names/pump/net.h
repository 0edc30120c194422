/* A network namespace of an away pump's own, in which every address is a local one:
 * there the task's sockets have the addresses that they had at home, and so have their
 * peers, whose place the pump takes. Nothing leads out of it, and nothing of it is to
 * be seen on the host.
 *
 * A socket belongs to the namespace in which it was made, whoever uses it then.
 */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/names/net/inet_addr.h"

struct cor_pump_net;

/* The calling thread's namespace stays what it is. -EPERM, ... */
int cor_pump_net_new(struct cor_pump_net **out, struct cor_error *err);
void cor_pump_net_free(struct cor_pump_net *n);

/* The same of another kind: set_up is called in it. -errno. */
int cor_pump_net_make(struct cor_pump_net **out, int (*set_up)(void *arg), void *arg);

/* The calling thread is in it until _leave(). -errno. */
int cor_pump_net_enter(const struct cor_pump_net *n);
void cor_pump_net_leave(const struct cor_pump_net *n);

/* A connection between the address of the task's side, ours, and its peer's, theirs, both
 * of family domain as sockaddr has them. *task: the task's side; *fd: its peer's. -errno. */
int cor_pump_net_pair(const struct cor_pump_net *n, int domain, const ProtobufCBinaryData *ours,
		      const ProtobufCBinaryData *theirs, int *task, int *fd);

/* A socket at theirs that connects to what listens at ours; it does not wait. -errno. */
int cor_pump_net_connect(const struct cor_pump_net *n, int domain,
			 const ProtobufCBinaryData *ours, const ProtobufCBinaryData *theirs);

/* A listening socket, which has SO_REUSEADDR. -errno. */
int cor_pump_net_listen(const struct cor_pump_net *n, int domain, bool v6only,
			const ProtobufCBinaryData *ours, int backlog);

/* A UDP socket at ours. It shares its port with nobody: -EADDRINUSE says that somebody
 * has it. -errno. */
int cor_pump_net_udp(const struct cor_pump_net *n, int domain, bool v6only,
		     const ProtobufCBinaryData *ours);
