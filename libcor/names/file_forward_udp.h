/* UDP sockets whose address stays, as file_forward.c asks about them: the functions are
 * those of file_forward.h. */
#pragma once

#include "libcor/names/file_ops.h"

bool cor_forward_udp_stays(const struct cor_file_capture *c, const struct cor_file_seen *seen);
/* ch has its address. */
int cor_forward_udp_describe(const struct cor_file_seen *seen, Cor__Names__PumpChannel *ch);
/* out has its names and options. */
int cor_forward_udp_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			    struct cor_error *err);
int cor_forward_udp_unread(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			   struct cor_error *err);
/* The first of it alone, unless only home can say what becomes of it. */
int cor_forward_udp_first(const struct cor_file_seen *seen, Cor__Names__OpenFile *out);
