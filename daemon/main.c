/* cord: the daemon's start. */
#include <stdio.h>

#include "daemon/worker.h"

int main(void)
{
	static const struct worker_ops workers = { session_source_run, session_destination_run };

	fprintf(stderr, "cord: not yet (%d)\n", workers.source != NULL);
	return 1;
}
