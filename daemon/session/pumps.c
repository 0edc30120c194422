/* What both workers need to know of pumps, and how one is started. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/keys.h"
#include "daemon/session/pumps_private.h"
#include "daemon/spawn.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

struct start {
	const struct cord_config *config;
	struct cor_pump_plan plan;
};

/* cord's log is not ours: it may outlive whoever reads it by days. */
static void no_output(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
}

static int run(const void *arg)
{
	const struct start *s = arg;

	no_output();
	return chdir("/") < 0 ? 1 : cor_pump_run(&s->plan);
}

int session_pump_start(const struct cord_config *config, enum cor_pump_side side,
		       const Cor__Names__PumpLink *link, struct cor_error *err)
{
	_cleanup_close_ int ours = -1;
	char dir[128];
	struct start s = {
		.config = config,
		.plan = { .side = side, .dir = dir, .link = link,
			  .give_up_s = config->timeouts.reconnect_s,
			  .connect_s = config->timeouts.connect_s,
			  .silence_s = config->timeouts.silence_s,
			  .encrypted = cord_keys_set(config) },
	};
	int pair[2];
	pid_t pid;

	cord_config_pumps(config, dir, sizeof(dir));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return cor_fail_errno(err, "a socket to a pump");
	ours = pair[0];
	s.plan.control = pair[1];
	pid = spawn_worker("cor-pump", &pair[1], 1, run, &s);
	close(pair[1]);
	if (pid < 0)
		return cor_fail_code(err, pid, "a pump cannot be started");
	return take_fd(&ours);
}
