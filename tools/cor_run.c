/* cor run: starts a command with the preload library. */
#include "tools/cor.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"

#define LIBRARY "libcor-preload.so"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	int *command = state->input;

	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	/* The command's own options are none of ours. */
	*command = state->next - 1;
	state->next = state->argc;
	return 0;
}

/* COR_PRELOAD, else where the build put it beside this very program, else where
 * it was installed. Absolute, since the command may change directory. */
static int find_library(char path[PATH_MAX])
{
	const char *given = getenv("COR_PRELOAD");
	char self[PATH_MAX], beside[2 * PATH_MAX];
	ssize_t n;

	if (given && *given)
		return realpath(given, path) ? 0 :
		       cor_complain("COR_PRELOAD=%s: %s", given, strerror(errno));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = 0;
		snprintf(beside, sizeof(beside), "%s/preload/.libs/" LIBRARY, dirname(self));
		if (realpath(beside, path))
			return 0;
	}
	if (realpath(PKGLIBDIR "/" LIBRARY, path))
		return 0;
	return cor_complain(LIBRARY " is not found (in " PKGLIBDIR "; see COR_PRELOAD)");
}

static int set_preload(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	_cleanup_free_ char *all = NULL;

	/* The dynamic linker parts names at colons and blanks, ld.so(8). */
	if (strpbrk(library, ": "))
		return cor_complain("%s cannot be preloaded: its path holds a colon or a blank",
				    library);
	if (asprintf(&all, "%s%s%s", library, before && *before ? ":" : "",
		     before ? before : "") < 0 || setenv("LD_PRELOAD", all, 1) < 0)
		return cor_complain("out of memory");
	return 0;
}

/* What the library acts on: consent, and which cord to register with. */
static int set_consent(const struct cor_globals *globals)
{
	if (setenv("COR_RUN", "1", 1) < 0 || setenv("COR_CONTROL", globals->control, 1) < 0)
		return cor_complain("out of memory");
	return 0;
}

int cor_run(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp parser = {
		NULL, parse, "[--] COMMAND [ARGUMENT...]",
		"Starts COMMAND with the preload library.\vThe exit status is COMMAND's, or 1 when "
		"it cannot be started.", NULL, NULL, NULL,
	};
	char library[PATH_MAX];
	int command = 0;

	if (argp_parse(&parser, argc, argv, ARGP_IN_ORDER, NULL, &command) != 0)
		return COR_EXIT_FAILED;
	if (!command)
		return cor_complain("run takes a COMMAND (see cor run --help)");
	if (find_library(library) != 0 || set_preload(library) != 0 ||
	    set_consent(globals) != 0)
		return COR_EXIT_FAILED;
	execvp(argv[command], argv + command);
	return cor_complain("%s: %s", argv[command], strerror(errno));
}
