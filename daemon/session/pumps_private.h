/* What pumps_source.c and pumps_destination.c share. */
#pragma once

#include "daemon/session/pumps.h"

/* Forks a pump that outlives us; the socket to speak to it. */
int session_pump_start(const struct cord_config *config, enum cor_pump_side side,
		       const Cor__Names__PumpLink *link, struct cor_error *err);
