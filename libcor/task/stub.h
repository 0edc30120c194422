/* The stub: the process that becomes the task. It has the task's PID and still
 * runs our code: it makes the userfaultfd of its own address space, and acts on
 * requests (descriptors, files to be mapped) until injection unmaps us. */
#pragma once

#include <stdint.h>

#include "libcor/task/channel.h"
#include "libcor/task/rebuild.h"

/* cor_message.kind on the stub's channel. A reply has the request's kind, its
 * op is 0 or -errno and its payload the answer or the error's sentence. */
enum cor_stub_kind {
	COR_STUB_HELLO = 1,     /* from the stub: one byte with the userfaultfd before it */
	COR_STUB_CALL,          /* plan->call(op, payload, descriptors) */
	COR_STUB_OPEN,          /* payload: cor_stub_open's, one behind the other; answer:
				   int32_t descriptor numbers in the stub */
	COR_STUB_HOLD,          /* descriptors to be held; answer: int32_t numbers */
};

struct cor_stub_open {
	int32_t  flags;         /* of open(2) */
	uint32_t may_fail;      /* then its number is -1 */
	uint32_t len;           /* of the path that follows, its NUL included */
};

/* Runs the stub; the process ends with it. arg: const struct cor_rebuild_plan. */
void cor_stub_main(void *arg, int channel, int max_fd);
