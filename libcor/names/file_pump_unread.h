/* What waits to be read in the descriptors that file_pump.c captures. */
#pragma once

#include "libcor/names/file_ops.h"

/* Into the state of ch, the channel of seen, which is captured as out. Of a channel that has
 * left home already all of it, in front of what its pump has: else it would be lost.
 * fresh: of one whose home is here the first of it, which is there when the task goes on,
 * as it may have been told (poll(2), FIONREAD); home throws that away (pump/state.c), and
 * sends the rest. */
int cor_pump_unread(struct cor_file_capture *c, const struct cor_file_seen *seen,
		    Cor__Names__PumpChannel *ch, bool fresh, Cor__Names__OpenFile *out,
		    struct cor_error *err);
