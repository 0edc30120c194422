/* cord's configuration file and what must hold of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"

struct fixture {
	char path[32];
	struct cord_config config;
	struct cor_error err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	strcpy(f->path, "/tmp/cor-config-XXXXXX");
	fd = mkstemp(f->path);
	if (fd < 0)
		return -1;
	close(fd);
	cord_config_init(&f->config);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	cord_config_clear(&f->config);
	free(f);
	return 0;
}

static int load(struct fixture *f, const char *text)
{
	FILE *out = fopen(f->path, "w");

	fputs(text, out);
	fclose(out);
	return cord_config_load(&f->config, f->path, &f->err);
}

/* The sentence begins with FILE:LINE: and holds what. */
static void assert_told(const struct fixture *f, int line, const char *what)
{
	char start[64];

	snprintf(start, sizeof(start), "%s:%d: ", f->path, line);
	if (strncmp(f->err.text, start, strlen(start)) || !strstr(f->err.text, what))
		fail_msg("not %s...%s: %s", start, what, f->err.text);
}

static void reads_every_section(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[cord]\nname = a\nlisten=127.0.0.1:9\ncontrol = /c.sock\n"
				 "state-dir = /s\ninsecure = yes\n"
				 "[paging]\nprefetch = off\nhuge-pages = no\nspin-us = 0\ncheck = no\n"
				 "rdma-pin-mib = 8\n[task]\nsleepers = no\n"
				 "[timeouts]\nfreeze-ms = 5\nreconnect-s = 7\n"), 0);
	assert_string_equal(f->config.name, "a");
	assert_string_equal(f->config.listen, "127.0.0.1:9");
	assert_string_equal(f->config.control, "/c.sock");
	assert_string_equal(f->config.state_dir, "/s");
	assert_true(f->config.insecure);
	assert_false(f->config.paging.prefetch);
	assert_false(f->config.paging.huge_pages);
	assert_int_equal(f->config.paging.spin_us, 0);
	assert_int_equal(f->config.paging.rdma_pin_mib, 8);
	assert_int_equal(f->config.paging.check, CORD_CHECK_NO);
	assert_false(f->config.task.sleepers);
	assert_int_equal(f->config.timeouts.freeze_ms, 5);
	assert_int_equal(f->config.timeouts.reconnect_s, 7);
}

static void finds_peers_by_name(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[peers]\nb = 10.0.0.2:7411\nc = [::1]:7412\n"), 0);
	assert_string_equal(cord_config_peer(&f->config, "b"), "10.0.0.2:7411");
	assert_string_equal(cord_config_peer(&f->config, "c"), "[::1]:7412");
}

static void takes_an_address_for_a_peer(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(cord_config_peer(&f->config, "10.0.0.9:1"), "10.0.0.9:1");
	assert_null(cord_config_peer(&f->config, "nobody"));
}

static void tells_the_line_of_an_unknown_key(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[cord]\nname = a\n\nnmae = b\n"), -EINVAL);
	assert_told(f, 4, "nmae");
}

static void tells_the_line_of_an_unknown_section(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[crod]\nname = a\n"), -EINVAL);
	assert_told(f, 2, "crod");
}

static void tells_the_line_of_a_number_out_of_range(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[paging]\nspin-us = 10001\n"), -EINVAL);
	assert_told(f, 2, "from 0 to 10000");
}

static void tells_the_line_of_what_is_no_number(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[timeouts]\nconnect-s = 5 s\n"), -EINVAL);
	assert_told(f, 2, "5 s");
}

static void tells_the_line_of_what_is_neither_key_nor_section(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[cord]\nthis is nothing\nfoo = bar\n"), -EINVAL);
	assert_told(f, 2, "neither");
}

static void tells_the_line_of_a_bad_peer_address(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[peers]\nb = 10.0.0.2\n"), -EINVAL);
	assert_told(f, 2, "ADDR:PORT");
}

static void refuses_a_peer_named_twice(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[peers]\nb = h:1\nb = h:2\n"), -EINVAL);
	assert_told(f, 3, "twice");
}

static void leaves_the_configuration_alone_on_failure(void **state)
{
	struct fixture *f = *state;

	strcpy(f->config.name, "before");
	assert_int_equal(load(f, "[cord]\nname = after\n[peers]\nb = h:1\n[cord]\nx = y\n"),
			 -EINVAL);
	assert_string_equal(f->config.name, "before");
	assert_int_equal(f->config.npeers, 0);
}

static void names_a_file_that_is_not_there(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cord_config_load(&f->config, "/nonexistent/cord.conf", &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "/nonexistent/cord.conf"));
}

static void refuses_other_than_loopback_without_insecure(void **state)
{
	struct fixture *f = *state;

	strcpy(f->config.listen, "0.0.0.0:7411");
	assert_int_equal(cord_config_check(&f->config, &f->err), -EACCES);
	assert_non_null(strstr(f->err.text, "--insecure"));
	strcpy(f->config.listen, ":7411");
	assert_int_equal(cord_config_check(&f->config, &f->err), -EACCES);
}

static void allows_other_than_loopback_with_insecure(void **state)
{
	struct fixture *f = *state;

	strcpy(f->config.listen, "0.0.0.0:7411");
	f->config.insecure = true;
	assert_int_equal(cord_config_check(&f->config, &f->err), 0);
}

static void allows_loopback(void **state)
{
	struct fixture *f = *state;

	strcpy(f->config.listen, "127.8.8.8:1");
	assert_int_equal(cord_config_check(&f->config, &f->err), 0);
	strcpy(f->config.listen, "[::1]:1");
	assert_int_equal(cord_config_check(&f->config, &f->err), 0);
}

static void wants_absolute_paths(void **state)
{
	struct fixture *f = *state;

	strcpy(f->config.control, "cord.sock");
	assert_int_equal(cord_config_check(&f->config, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "cord.sock"));
}

static void switches_mechanisms_off_and_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[mechanisms]\npipes = no\nsockets = off\nfiles = yes\n"), 0);
	assert_int_equal(f->config.mechanisms_off,
			 1u << COR_MECHANISM_PIPES | 1u << COR_MECHANISM_SOCKETS);
	assert_int_equal(load(f, "[mechanisms]\npipes = yes\n"), 0);
	assert_int_equal(f->config.mechanisms_off, 1u << COR_MECHANISM_SOCKETS);
}

static void tells_the_line_of_a_mechanism_that_is_none(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[mechanisms]\ntelepathy = no\n"), -EINVAL);
	assert_told(f, 2, "telepathy");
	assert_int_equal(load(f, "[mechanisms]\nfiles = perhaps\n"), -EINVAL);
	assert_told(f, 2, "perhaps");
}

static void keeps_what_nothing_moves_without(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[mechanisms]\n\npaging = no\n"), -EINVAL);
	assert_told(f, 3, "paging");
	assert_int_equal(load(f, "[mechanisms]\npaging = yes\n"), 0);
}

static void reads_whose_files_are_whose(void **state)
{
	struct fixture *f = *state;
	struct cor_tree_wish *w;
	unsigned n;

	assert_int_equal(load(f, "[files]\n/ = home\n/usr/ = local\n[files B]\n/data = shared\n"), 0);
	w = cord_config_files(&f->config, "C", &n);
	assert_int_equal(n, 2);
	assert_string_equal(w[1].prefix, "/usr");
	assert_int_equal(w[1].mode, COR__NAMES__TREE_MODE__TREE_LOCAL);
	free(w);
	w = cord_config_files(&f->config, "B", &n);
	assert_int_equal(n, 3);
	assert_string_equal(w[2].prefix, "/data");
	assert_int_equal(w[2].mode, COR__NAMES__TREE_MODE__TREE_SHARED);
	free(w);
}

static void tells_the_line_of_wrong_files(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "[files]\nusr = home\n"), -EINVAL);
	assert_told(f, 2, "usr");
	assert_int_equal(load(f, "[files]\n/usr = mine\n"), -EINVAL);
	assert_told(f, 2, "mine");
}

static void reads_a_list_of_transports(void **state)
{
	struct fixture *f = *state;
	const struct cor_transports *t = &f->config.paging.transports;

	assert_int_equal(load(f, "[paging]\nprefetch = yes\n"), 0);
	assert_string_equal(t->name[0], "verbs");
	assert_false(f->config.paging.transports_only);
	assert_int_equal(load(f, "[paging]\ntransports = fabric:tcp;ofi_rxm, fabric:shm\n"), 0);
	assert_int_equal(t->n, 3);
	assert_string_equal(t->name[0], "fabric:tcp;ofi_rxm");
	assert_string_equal(t->name[2], "tcp");
	assert_true(f->config.paging.transports_only);
	assert_int_equal(load(f, "[paging]\n\ntransports = pigeon\n"), -EINVAL);
	assert_told(f, 3, "pigeon");
	assert_int_equal(load(f, "[paging]\ntransports =\n"), -EINVAL);
	assert_told(f, 2, "empty");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(reads_every_section),
		T(reads_a_list_of_transports),
		T(finds_peers_by_name),
		T(takes_an_address_for_a_peer),
		T(tells_the_line_of_an_unknown_key),
		T(tells_the_line_of_an_unknown_section),
		T(tells_the_line_of_a_number_out_of_range),
		T(tells_the_line_of_what_is_no_number),
		T(tells_the_line_of_what_is_neither_key_nor_section),
		T(tells_the_line_of_a_bad_peer_address),
		T(refuses_a_peer_named_twice),
		T(leaves_the_configuration_alone_on_failure),
		T(names_a_file_that_is_not_there),
		T(refuses_other_than_loopback_without_insecure),
		T(allows_other_than_loopback_with_insecure),
		T(allows_loopback),
		T(wants_absolute_paths),
		T(switches_mechanisms_off_and_on),
		T(tells_the_line_of_a_mechanism_that_is_none),
		T(keeps_what_nothing_moves_without),
		T(reads_whose_files_are_whose),
		T(tells_the_line_of_wrong_files),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
