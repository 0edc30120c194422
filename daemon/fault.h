/* Named fault points, compiled in with --enable-fault-points: COR_FAULT in the
 * environment of cord names one and what happens there:
 *
 *	COR_FAULT=image-sent:kill        SIGKILL to this worker
 *	COR_FAULT=commit-sent:stall      it sleeps for a minute
 */
#pragma once

#include "config.h"

#ifdef COR_FAULT_POINTS
void fault_point(const char *name);
#define FAULT_POINT(name) fault_point(name)
#else
#define FAULT_POINT(name) do { } while (0)
#endif
