/* Named fault points, compiled in with --enable-fault-points: COR_FAULT in the
 * environment of cord names one and what happens there:
 *
 *	COR_FAULT=image-sent:kill        SIGKILL to this worker
 *	COR_FAULT=commit-sent:stall      it sleeps for a minute
 *	COR_FAULT=commit-sent:cut        its control connection is cut
 *	COR_FAULT=commit:silence         the same, but the other side does not notice
 *	COR_FAULT=commit:hold=DIR        it makes DIR/commit.reached and waits, for a minute
 *	                                 at most, until DIR/commit.go is there; so that the
 *	                                 test can do what it likes at that moment
 *
 *	COR_FAULT=@FILE                  what FILE holds at that moment, if it is there
 *
 * hold strikes once: who comes by later, and finds DIR/commit.reached, passes.
 */
#pragma once

#include <config.h>    /* configure's, not the one beside this file */

#ifdef COR_FAULT_POINTS
#include "libcor/transport/stream.h"

/* control: NULL where there is none just now. */
void fault_point(const char *name, struct cor_stream *control);
#define FAULT_POINT(name, control) fault_point(name, control)
#else
#define FAULT_POINT(name, control) do { } while (0)
#endif
