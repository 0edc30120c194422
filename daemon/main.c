/* cord: the daemon's entry. */
#include <stdio.h>

#include "daemon/cord.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/worker.h"

int main(int argc, char **argv)
{
	static const struct worker_ops workers = { session_source_run, session_destination_run,
						   session_source_obituary, session_source_mend };
	struct cor_error err = COR_ERROR_INIT;
	struct cord_options options;
	int r;

	r = cord_options_parse(&options, argc, argv, &err);
	if (r < 0) {
		fprintf(stderr, "cord: %s\n", err.text);
		return 1;
	}
	cord_log_open(options.log_level);
	r = cord_run(&options.config, &workers, &err);
	if (r < 0)
		cord_log(CORD_LOG_ERROR, NULL, "%s", err.text);
	cord_config_clear(&options.config);
	return r < 0 ? 1 : 0;
}
