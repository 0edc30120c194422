/* The built programs: what their arguments mean, and their exit statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COR  BUILD_DIR "/cor --control /nonexistent/cord.sock "
#define CORD BUILD_DIR "/cord "

struct outcome {
	int  status;
	char text[8192];
};

/* Runs it by the shell; what it prints where the command says so. */
static void run(struct outcome *o, const char *command)
{
	FILE *f = popen(command, "re");
	size_t n;
	int status;

	assert_non_null(f);
	n = fread(o->text, 1, sizeof(o->text) - 1, f);
	o->text[n] = 0;
	status = pclose(f);
	o->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool one_line(const char *text)
{
	const char *end = strchr(text, '\n');

	return end && !end[1];
}

/* Exit status 1 and one line "cor: ..." with word in it. */
static void assert_refused(const char *command, const char *word)
{
	struct outcome o;

	run(&o, command);
	if (o.status != 1 || !one_line(o.text) || strncmp(o.text, "cor", 3) ||
	    !strstr(o.text, word))
		fail_msg("%s: status %d: %s", command, o.status, o.text);
}

static void tells_its_version(void **state)
{
	struct outcome o;

	run(&o, COR "--version");
	assert_int_equal(o.status, 0);
	assert_memory_equal(o.text, "cor ", 4);
	run(&o, CORD "--version");
	assert_int_equal(o.status, 0);
	assert_memory_equal(o.text, "cord ", 5);
}

static void help_lists_the_commands(void **state)
{
	static const char *const names[] = { "migrate", "ps", "status", "cancel", "run", "check" };
	struct outcome o;

	run(&o, COR "--help");
	assert_int_equal(o.status, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_non_null(strstr(o.text, names[i]));
}

static void every_command_has_help(void **state)
{
	struct outcome o;

	run(&o, COR "migrate --help");
	assert_int_equal(o.status, 0);
	assert_non_null(strstr(o.text, "--no-prefetch"));
	run(&o, COR "status --help");
	assert_int_equal(o.status, 0);
	run(&o, COR "cancel --help");
	assert_int_equal(o.status, 0);
	run(&o, COR "run --help");
	assert_int_equal(o.status, 0);
	run(&o, COR "check --help");
	assert_int_equal(o.status, 0);
}

static void hints_at_the_command_that_was_meant(void **state)
{
	assert_refused(COR "migarte 1 b:1 2>&1", "did you mean \"migrate\"");
	assert_refused(COR "juggle 2>&1", "juggle");
	assert_refused(COR "2>&1", "which command");
}

static void migrate_checks_its_arguments(void **state)
{
	assert_refused(COR "migrate 2>&1", "PID and DEST");
	assert_refused(COR "migrate 1 2>&1", "PID and DEST");
	assert_refused(COR "migrate 12x b:1 2>&1", "\"12x\"");
	assert_refused(COR "migrate -- -1 b:1 2>&1", "\"-1\"");
	assert_refused(COR "migrate 2147483647 b:1 2>&1", "no process 2147483647");
	assert_refused(COR "migrate $$ b:1 --wait=never 2>&1", "\"never\"");
}

static void names_the_socket_that_nobody_serves(void **state)
{
	assert_refused(COR "migrate $$ b:1 2>&1", "/nonexistent/cord.sock");
	assert_refused(COR "ps 2>&1", "/nonexistent/cord.sock");
	assert_refused(COR "cancel 00 2>&1", "/nonexistent/cord.sock");
	assert_refused("COR_CONTROL=/elsewhere " BUILD_DIR "/cor ps 2>&1", "/elsewhere");
	assert_refused(BUILD_DIR "/cor ps --control /behind 2>&1", "/behind");
}

static void json_is_one_object_also_on_failure(void **state)
{
	struct outcome o;
	json_t *j;

	run(&o, COR "migrate $$ b:1 --json 2>/dev/null");
	assert_int_equal(o.status, 1);
	j = json_loads(o.text, 0, NULL);
	assert_true(json_is_false(json_object_get(j, "ok")));
	assert_true(json_is_string(json_object_get(j, "error")));
	json_decref(j);
}

static void run_preloads_and_keeps_the_status(void **state)
{
	struct outcome o;

	run(&o, "COR_PRELOAD=" BUILD_DIR "/preload/.libs/libcor-preload.so "
		COR "run -- sh -c 'echo $LD_PRELOAD; exit 7'");
	assert_int_equal(o.status, 7);
	assert_non_null(strstr(o.text, "libcor-preload.so"));
}

static void run_leaves_the_commands_own_options_alone(void **state)
{
	struct outcome o;

	run(&o, COR "run echo --version");
	assert_int_equal(o.status, 0);
	assert_non_null(strstr(o.text, "echo (GNU coreutils)"));
}

static void run_names_what_it_cannot_start(void **state)
{
	assert_refused(COR "run /nonexistent/x 2>&1", "/nonexistent/x");
	assert_refused("COR_PRELOAD=/nonexistent/lib.so " COR "run true 2>&1",
		       "/nonexistent/lib.so");
	assert_refused(COR "run 2>&1", "COMMAND");
}

static void check_prints_the_features(void **state)
{
	struct outcome o;
	json_t *j;

	run(&o, COR "check --json 2>/dev/null");
	j = json_loads(o.text, 0, NULL);
	assert_true(json_is_boolean(json_object_get(json_object_get(j, "features"),
						    "userfaultfd")));
	assert_int_equal(o.status, json_is_true(json_object_get(j, "ok")) ? 0 : 1);
	json_decref(j);
}

static void cord_refuses_other_than_loopback(void **state)
{
	assert_refused(CORD "--listen 0.0.0.0:0 2>&1", "--insecure");
}

static void cord_names_the_line_of_its_configuration(void **state)
{
	assert_refused("f=$(mktemp); printf '[cord]\\nfoo = 1\\n' >$f; " CORD
		       "--config $f 2>&1; s=$?; rm $f; exit $s", ":2: ");
}

static void cord_refuses_arguments(void **state)
{
	struct outcome o;

	run(&o, CORD "surplus 2>&1");
	assert_int_equal(o.status, 1);
	assert_non_null(strstr(o.text, "surplus"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_its_version),
		cmocka_unit_test(help_lists_the_commands),
		cmocka_unit_test(every_command_has_help),
		cmocka_unit_test(hints_at_the_command_that_was_meant),
		cmocka_unit_test(migrate_checks_its_arguments),
		cmocka_unit_test(names_the_socket_that_nobody_serves),
		cmocka_unit_test(json_is_one_object_also_on_failure),
		cmocka_unit_test(run_preloads_and_keeps_the_status),
		cmocka_unit_test(run_leaves_the_commands_own_options_alone),
		cmocka_unit_test(run_names_what_it_cannot_start),
		cmocka_unit_test(check_prints_the_features),
		cmocka_unit_test(cord_refuses_other_than_loopback),
		cmocka_unit_test(cord_names_the_line_of_its_configuration),
		cmocka_unit_test(cord_refuses_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
