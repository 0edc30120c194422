/* What a UDP socket may have that is not carried, wherever its address is. */
#pragma once

#include "libcor/names/file_ops.h"

/* Refuses what a UDP socket may have that is not carried: members of multicast groups, ...
 * out: its address is set. */
int cor_udp_refuse_special(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			   struct cor_error *err);
