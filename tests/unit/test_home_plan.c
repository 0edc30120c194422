/* Which files a task sees where it arrives: what mounts say, and what is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libcor/names/home/plan.h"

static void test_a_line_of_mountinfo(void **state)
{
	char line[] = "36 35 98:5 /mnt1 /a\\040b rw,noatime master:1 propagate_from:2 - ext3 "
		      "/dev/my\\134disk rw,errors=continue";
	char short_line[] = "36 35 98:5 /mnt1 /mnt2 rw";
	char no_type[] = "36 35 98:5 / /mnt2 rw -";
	struct cor_mount_line m;

	assert_int_equal(cor_parse_mount(line, &m), 0);
	assert_int_equal(m.id, 36);
	assert_int_equal(m.parent, 35);
	assert_int_equal(m.dev, makedev(98, 5));
	assert_string_equal(m.root, "/mnt1");
	assert_string_equal(m.point, "/a b");
	assert_string_equal(m.type, "ext3");
	assert_string_equal(m.source, "/dev/my\\disk");
	assert_int_equal(cor_parse_mount(short_line, &m), -EINVAL);
	assert_int_equal(cor_parse_mount(no_type, &m), -EINVAL);
}

static Cor__Names__Trees *own_trees(const struct cor_tree_wish *wishes, unsigned n)
{
	Cor__Names__Trees *t = NULL;
	struct cor_error err = COR_ERROR_INIT;

	if (cor_trees_read(&t, getpid(), wishes, n, &err) < 0)
		fail_msg("%s", err.text);
	return t;
}

static Cor__Names__Plan *plan_of(const Cor__Names__Trees *t)
{
	Cor__Names__Plan *p = NULL;
	struct cor_error err = COR_ERROR_INIT;

	if (cor_trees_plan(&p, t, &err) < 0)
		fail_msg("%s", err.text);
	return p;
}

static const char *mode_at(const Cor__Names__Plan *p, const char *path)
{
	int i = cor_plan_find(p, path);

	return i < 0 ? "none" : cor_tree_mode_name(p->trees[i]->mode);
}

static void test_the_same_host_shares_all(void **state)
{
	Cor__Names__Trees *t = own_trees(NULL, 0);
	Cor__Names__Plan *p = plan_of(t);

	assert_int_equal(p->n_trees, 0);
	assert_false(cor_plan_at_home(p, "/etc/passwd"));
	cor__names__plan__free_unpacked(p, NULL);
	cor__names__trees__free_unpacked(t, NULL);
}

static void become_another_host(Cor__Names__Trees *t)
{
	free(t->boot_id);
	t->boot_id = strdup("another");
}

static void test_another_host_is_the_home(void **state)
{
	Cor__Names__Trees *t = own_trees(NULL, 0);
	Cor__Names__Plan *p;

	become_another_host(t);
	p = plan_of(t);
	assert_string_equal(mode_at(p, "/"), "home");
	assert_string_equal(mode_at(p, "/etc/passwd"), "home");
	assert_string_equal(mode_at(p, "/proc/self"), "local");
	assert_string_equal(mode_at(p, "/procession"), "home");
	assert_true(cor_plan_at_home(p, "/etc/passwd"));
	cor__names__plan__free_unpacked(p, NULL);
	cor__names__trees__free_unpacked(t, NULL);
}

static void test_wishes_count_more(void **state)
{
	static const struct cor_tree_wish wishes[] = {
		{ "/", COR__NAMES__TREE_MODE__TREE_LOCAL },
		{ "/usr", COR__NAMES__TREE_MODE__TREE_HOME },
		{ "/usr/lib", COR__NAMES__TREE_MODE__TREE_LOCAL },
	};
	Cor__Names__Trees *t = own_trees(wishes, 3);
	Cor__Names__Plan *p;

	become_another_host(t);
	p = plan_of(t);
	assert_string_equal(mode_at(p, "/etc/passwd"), "local");
	assert_string_equal(mode_at(p, "/usr/bin/true"), "home");
	assert_string_equal(mode_at(p, "/usr/lib/os-release"), "local");
	cor__names__plan__free_unpacked(p, NULL);
	cor__names__trees__free_unpacked(t, NULL);
}

static void test_what_is_to_be_shared_must_be_the_same(void **state)
{
	static const struct cor_tree_wish wish = { "/", COR__NAMES__TREE_MODE__TREE_SHARED };
	Cor__Names__Trees *t = own_trees(&wish, 1);
	struct cor_error err = COR_ERROR_INIT;
	Cor__Names__Plan *p = NULL;

	become_another_host(t);
	assert_int_equal(cor_trees_plan(&p, t, &err), -ESTALE);
	assert_non_null(strstr(err.text, "is to be shared"));
	assert_null(p);
	cor__names__trees__free_unpacked(t, NULL);
}

static void test_a_peers_nonsense_is_refused(void **state)
{
	Cor__Names__Trees *t = own_trees(NULL, 0);
	Cor__Names__Plan *p = NULL;

	t->mounts[0]->home = 7;
	assert_int_equal(cor_trees_plan(&p, t, NULL), -EPROTO);
	t->mounts[0]->home = 0;
	for (size_t i = 0; i < t->n_mounts; i++)
		if (strcmp(t->mounts[i]->point, "/") == 0)
			t->mounts[i]->point[0] = 'x';
	assert_int_equal(cor_trees_plan(&p, t, NULL), -EPROTO);
	assert_null(p);
	cor__names__trees__free_unpacked(t, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_of_mountinfo),
		cmocka_unit_test(test_the_same_host_shares_all),
		cmocka_unit_test(test_another_host_is_the_home),
		cmocka_unit_test(test_wishes_count_more),
		cmocka_unit_test(test_what_is_to_be_shared_must_be_the_same),
		cmocka_unit_test(test_a_peers_nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
