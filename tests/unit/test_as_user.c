/* A user's file rights for a while. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/as_user.h"

#define SOMEBODY 54321u

static char g_path[64];

static int opens(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int set_up(void **state)
{
	int fd;

	if (geteuid() != 0)
		return 0;
	snprintf(g_path, sizeof(g_path), "/tmp/cor-as-user.XXXXXX");
	fd = mkstemp(g_path);
	assert_true(fd >= 0);
	close(fd);
	return 0;
}

static int tear_down(void **state)
{
	unlink(g_path);
	return 0;
}

#define NEED_ROOT() do { if (geteuid() != 0) skip(); } while (0)

static void names_are_looked_up_by_the_user(void **state)
{
	const struct cor_as_user user = { .uid = SOMEBODY, .gid = SOMEBODY };
	struct cor_as_user_saved saved;
	struct stat st;
	int fd;

	NEED_ROOT();
	assert_int_equal(cor_as_user_begin(&saved, &user, NULL), 0);
	assert_false(opens(g_path));
	assert_int_equal(errno, EACCES);
	fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	cor_as_user_end(&saved);
	assert_int_equal(st.st_uid, SOMEBODY);
	assert_true(opens(g_path));
}

static void groups_count_and_come_back(void **state)
{
	static const uint32_t groups[] = { 7777 };
	const struct cor_as_user user = { .uid = SOMEBODY, .gid = SOMEBODY, .groups = groups,
					  .ngroups = 1 };
	struct cor_as_user_saved saved;
	gid_t before[64], after[64];
	int n;

	NEED_ROOT();
	n = getgroups(64, before);
	assert_int_equal(chown(g_path, 0, 7777), 0);
	assert_int_equal(chmod(g_path, 0640), 0);
	assert_int_equal(cor_as_user_begin(&saved, &user, NULL), 0);
	assert_true(opens(g_path));
	cor_as_user_end(&saved);
	assert_int_equal(getgroups(64, after), n);
	assert_memory_equal(before, after, (size_t)n * sizeof(gid_t));
}

static int bind_low(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(979),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;

	close(fd);
	return r;
}

static void low_ports_are_not_the_users(void **state)
{
	const struct cor_as_user user = { .uid = SOMEBODY, .gid = SOMEBODY };
	struct cor_as_user_saved saved;

	NEED_ROOT();
	assert_int_equal(cor_as_user_begin(&saved, &user, NULL), 0);
	assert_int_equal(bind_low(), -EACCES);
	cor_as_user_end(&saved);
	assert_int_equal(bind_low(), 0);
}

static void nobody_is_no_change(void **state)
{
	struct cor_as_user_saved saved;

	assert_int_equal(cor_as_user_begin(&saved, NULL, NULL), 0);
	assert_int_equal(opens("/proc/self/status"), 1);
	cor_as_user_end(&saved);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(names_are_looked_up_by_the_user), T(groups_count_and_come_back),
		T(low_ports_are_not_the_users), T(nobody_is_no_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
