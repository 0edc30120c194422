/* Which capabilities cord, and with it every worker, keeps. */
#pragma once

#include <cor/error.h>

#include "daemon/config.h"

/* Gives up those that neither cord's work nor an arriving task can need, as the
 * configuration has it; for good. Where anything may arrive (no keys, or a peer that may
 * send root's tasks) nothing is given up, since a task arrives with what it had. */
int privilege_limit(const struct cord_config *c, struct cor_error *err);
