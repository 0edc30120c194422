/* What a TCP connection may have that is not carried, wherever its address is. */
#pragma once

#include "libcor/names/file_ops.h"

/* -EOPNOTSUPP and "descriptor FD is a TCP connection from ... to ...: why". out: its
 * addresses are set. */
int cor_tcp_refuse(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
		   const char *why, struct cor_error *err);

/* Refuses what a TCP connection may have that is not carried: MPTCP, urgent data, TLS of
 * the kernel's, ... out: its addresses are set. */
int cor_tcp_refuse_special(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			   struct cor_error *err);
