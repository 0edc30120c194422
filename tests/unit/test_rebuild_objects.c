/* Shared memory objects made for an arriving task: where, and what a peer may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/task/rebuild.h"

/* A directory in /dev/shm for one test, with a link in it that leads out of it. */
struct place {
	char dir[64];           /* "/dev/shm/cor-XXXXXX" */
	char link[80];          /* leads to outside */
	char outside[64];       /* not on /dev/shm */
	char name[160];         /* of a file that a test may leave behind */
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	*state = p;
	snprintf(p->outside, sizeof(p->outside), "/tmp/cor-XXXXXX");
	assert_non_null(mkdtemp(p->outside));
	snprintf(p->dir, sizeof(p->dir), "/dev/shm/cor-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->link, sizeof(p->link), "%s/link", p->dir);
	assert_int_equal(symlink(p->outside, p->link), 0);
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;

	unlink(p->name);
	unlink(p->link);
	rmdir(p->dir);
	rmdir(p->outside);
	free(p);
	return 0;
}

static int make(char *name, mode_t mode, struct stat *st)
{
	Cor__Task__Object o = COR__TASK__OBJECT__INIT;
	struct cor_error err = COR_ERROR_INIT;
	_cleanup_close_ int fd = -1;

	o.id = 1;
	o.kind = COR__TASK__OBJECT_KIND__OBJECT_TMPFS;
	o.name = name;
	o.size = 8192;
	o.mode = mode;
	fd = cor_rebuild_make_object(&o, &err);
	if (fd < 0) {
		assert_true(err.text[0]);
		return fd;
	}
	assert_int_equal(fstat(fd, st), 0);
	return 0;
}

static void object_has_its_name_and_size(void **state)
{
	struct place *p = *state;
	struct stat st, named;

	snprintf(p->name, sizeof(p->name), "%s/object", p->dir);
	assert_int_equal(make(p->name, 0640, &st), 0);
	assert_int_equal(stat(p->name, &named), 0);
	assert_true(named.st_ino == st.st_ino && named.st_dev == st.st_dev);
	assert_int_equal(st.st_size, 8192);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void name_in_use_stays_as_it_is(void **state)
{
	struct place *p = *state;
	struct stat first, second;

	snprintf(p->name, sizeof(p->name), "%s/object", p->dir);
	assert_int_equal(make(p->name, 0600, &first), 0);
	assert_int_equal(make(p->name, 0600, &second), 0);
	assert_true(second.st_ino != first.st_ino);
	assert_int_equal(second.st_nlink, 0);
}

static void assert_no_name(struct place *p)
{
	struct stat st;

	if (make(p->name, 0600, &st) == 0)
		assert_int_equal(st.st_nlink, 0);
	assert_int_equal(access(p->name, F_OK), -1);
}

static void nothing_is_made_outside_of_shm(void **state)
{
	struct place *p = *state;

	snprintf(p->name, sizeof(p->name), "%s/object", p->outside);
	assert_no_name(p);
	snprintf(p->name, sizeof(p->name), "/dev/shm/../..%s/object", p->outside);
	assert_no_name(p);
}

static void links_out_of_shm_are_not_followed(void **state)
{
	struct place *p = *state;

	snprintf(p->name, sizeof(p->name), "%s/object", p->link);
	assert_no_name(p);
}

static void no_object_is_set_user_id(void **state)
{
	struct place *p = *state;
	struct stat st;

	snprintf(p->name, sizeof(p->name), "%s/object", p->dir);
	assert_int_equal(make(p->name, 06755, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(object_has_its_name_and_size), T(name_in_use_stays_as_it_is),
		T(nothing_is_made_outside_of_shm), T(links_out_of_shm_are_not_followed),
		T(no_object_is_set_user_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
