#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "home_fixture.h"
#include "libcor/base/io.h"
#include "libcor/transport/tcp.h"

static void *cord(void *arg)
{
	struct home_lab *l = arg;

	while (!l->ending) {
		struct pollfd p = { .fd = l->listener, .events = POLLIN };
		struct cor_preamble pre;
		int fd, line;

		if (poll(&p, 1, 50) <= 0)
			continue;
		fd = cor_tcp_accept(l->listener, NULL);
		if (fd < 0)
			continue;
		if (cor_preamble_read(fd, 1000, &pre, NULL) < 0) {
			close(fd);
			continue;
		}
		line = cor_home_find(l->dir, pre.session, pre.secret);
		if (line < 0) {
			cor_preamble_answer(fd, line);
			close(fd);
			continue;
		}
		/* known before anything can come over it: that may be waited for, and then
		 * the next cut is this one's */
		if (l->sock >= 0)
			close(l->sock);
		l->sock = fd;
		cor_home_hand_over(line, fd, false);
		close(line);
	}
	return NULL;
}

static void make_directories(struct home_lab *l)
{
	strcpy(l->top, "/tmp/cor-home-test-XXXXXX");
	assert_non_null(mkdtemp(l->top));
	chmod(l->top, 0755);
	snprintf(l->home, sizeof(l->home), "%s/home", l->top);
	snprintf(l->far, sizeof(l->far), "%s/far", l->top);
	snprintf(l->next, sizeof(l->next), "%s/next", l->top);
	snprintf(l->dir, sizeof(l->dir), "%s/run", l->top);
	snprintf(l->shown, sizeof(l->shown), "%s%s", l->far, l->home);
	assert_int_equal(mkdir(l->home, 0755), 0);
	assert_int_equal(mkdir(l->far, 0755), 0);
	assert_int_equal(mkdir(l->dir, 0700), 0);
}

/* A mount of the home's, which is a client of its own. */
static int mount_home(struct home_lab *l)
{
	Cor__Names__Home home = COR__NAMES__HOME__INIT;
	struct cor_home_mount_options options = { .home = &home, .connect_s = 5 };
	struct cor_error err = COR_ERROR_INIT;
	char address[64];
	int fd;

	snprintf(address, sizeof(address), "127.0.0.1:%u", l->port);
	home.id = (ProtobufCBinaryData){ 16, l->id };
	home.secret = (ProtobufCBinaryData){ 32, l->secret };
	home.host = (char *)"homely";
	home.address = address;
	home.boot_id = (char *)"boot";
	fd = cor_home_mount(&options, &err);
	if (fd < 0)
		print_error("%s\n", err.text);
	assert_true(fd >= 0);
	return fd;
}

void home_lab_next(struct home_lab *l, char path[160])
{
	l->next_mount = mount_home(l);
	assert_int_equal(mkdir(l->next, 0755), 0);
	assert_int_equal(move_mount(l->next_mount, "", AT_FDCWD, l->next, MOVE_MOUNT_F_EMPTY_PATH), 0);
	snprintf(path, 160, "%s%s", l->next, l->home);
}

int home_lab_setup(void **state)
{
	struct home_lab *l = calloc(1, sizeof(*l));
	struct cor_home_serve serve = { .pid = getpid(), .dir = l->dir, .comm = "test" };
	struct cor_error err = COR_ERROR_INIT;
	int r;

	*state = l;
	l->sock = l->next_mount = -1;
	make_directories(l);
	memset(l->id, 7, sizeof(l->id));
	memset(l->secret, 9, sizeof(l->secret));
	memcpy(serve.id, l->id, sizeof(l->id));
	memcpy(serve.secret, l->secret, sizeof(l->secret));
	serve.dir = l->dir;
	r = cor_home_serve(&serve, &l->control, &err);
	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	r = cor_tcp_listen("127.0.0.1:0", &l->listener, &err);
	assert_true(r > 0);
	l->port = (unsigned)r;
	assert_int_equal(pthread_create(&l->cord, NULL, cord, l), 0);
	l->mount = mount_home(l);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL), 0);
	assert_int_equal(move_mount(l->mount, "", AT_FDCWD, l->far, MOVE_MOUNT_F_EMPTY_PATH), 0);
	return 0;
}

static bool server_gone(const struct home_lab *l)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/07070707070707070707070707070707.sock", l->dir);
	return access(path, F_OK) < 0;
}

int home_lab_teardown(void **state)
{
	struct home_lab *l = *state;
	char command[128];
	bool gone, detached;

	close(l->control);
	/* whatever the test came to: what is mounted there is all of this host */
	detached = umount2(l->far, MNT_DETACH) == 0;
	close(l->mount);
	if (l->next_mount >= 0) {
		detached &= umount2(l->next, MNT_DETACH) == 0 || errno == EINVAL || errno == ENOENT;
		close(l->next_mount);
	}
	/* the last mount takes the client along, and its word the server */
	gone = eventually(server_gone, l);
	l->ending = true;
	pthread_join(l->cord, NULL);
	close(l->listener);
	if (l->sock >= 0)
		close(l->sock);
	/* and never through a mount, should one be left */
	snprintf(command, sizeof(command), "rm -rf --one-file-system %s", l->top);
	if (!detached || system(command) != 0)
		print_error("%s remains\n", l->top);
	free(l);
	assert_true(detached);
	assert_true(gone);
	return 0;
}

const char *at_home(const struct home_lab *l, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", l->home, name);
	return path;
}

const char *from_far(const struct home_lab *l, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", l->shown, name);
	return path;
}

void write_home(const struct home_lab *l, const char *name, const char *text)
{
	int fd = open(at_home(l, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
}

const char *read_path(const char *path)
{
	static char buf[4096];
	int fd = open(path, O_RDONLY);
	ssize_t len;

	if (fd < 0) {
		snprintf(buf, sizeof(buf), "error %d", errno);
		return buf;
	}
	len = read(fd, buf, sizeof(buf) - 1);
	buf[len > 0 ? len : 0] = 0;
	close(fd);
	return buf;
}

bool eventually(bool (*condition)(const struct home_lab *l), const struct home_lab *l)
{
	uint64_t until = cor_now_ns() + 5000000000ull;

	while (!condition(l)) {
		if (cor_now_ns() > until)
			return false;
		usleep(2000);
	}
	return true;
}

void cut_home(struct home_lab *l)
{
	shutdown(l->sock, SHUT_RDWR);
}
