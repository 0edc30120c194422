/* Workers for a cord that is built without the session code: each says so and
 * ends. Weak: the real ones take their place where they are linked in. */
#include "daemon/worker.h"

#include <string.h>

#include "libcor/base/io.h"

static int refuse(int cord)
{
	static const char message[] =
		"{\"type\":\"result\",\"ok\":false,\"exit\":1,"
		"\"error\":\"this cord was built without migration sessions\"}";

	cor_send_fds(cord, message, strlen(message), NULL, 0);
	return 1;
}

__attribute__((weak)) int session_source_run(const struct worker_source_args *args)
{
	return refuse(args->cord);
}

__attribute__((weak)) int session_destination_run(const struct worker_destination_args *args)
{
	return refuse(args->cord);
}
