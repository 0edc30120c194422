/* A home and its files from afar, on one machine; see home_rig.h. */
#include "bench/home_rig.h"

#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/names/home/mount.h"
#include "libcor/names/home/process.h"
#include "libcor/transport/tcp.h"

struct home_rig {
	char top[256], seen[300];
	int  control, listener, mount;
	pthread_t cord;
	bool ending;
	uint8_t id[16], secret[32];
};

/* What cord does with a connection for files. */
static void *cord(void *arg)
{
	struct home_rig *r = arg;

	while (!r->ending) {
		struct pollfd p = { .fd = r->listener, .events = POLLIN };
		struct cor_preamble pre;
		int fd, line;

		if (poll(&p, 1, 50) <= 0)
			continue;
		fd = cor_tcp_accept(r->listener, NULL);
		if (fd < 0 || cor_preamble_read(fd, 1000, &pre, NULL) < 0)
			continue;
		line = cor_home_find(r->top, pre.session, pre.secret);
		if (line >= 0) {
			cor_home_hand_over(line, fd, false);
			close(line);
		}
		close(fd);
	}
	return NULL;
}

static void serve(struct home_rig *r)
{
	struct cor_home_serve what = { .pid = getpid(), .dir = r->top };
	struct cor_error e = COR_ERROR_INIT;

	if (cor_secret_make(r->id, sizeof(r->id), &e) < 0 ||
	    cor_secret_make(r->secret, sizeof(r->secret), &e) < 0)
		errx(1, "%s", e.text);
	memcpy(what.id, r->id, sizeof(r->id));
	memcpy(what.secret, r->secret, sizeof(r->secret));
	if (cor_home_serve(&what, &r->control, &e) < 0)
		errx(1, "%s", e.text);
}

static void mount_it(struct home_rig *r, unsigned port)
{
	Cor__Names__Home home = COR__NAMES__HOME__INIT;
	struct cor_home_mount_options o = { .home = &home, .connect_s = 5 };
	struct cor_error e = COR_ERROR_INIT;
	char address[32];

	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	home.id = (ProtobufCBinaryData){ sizeof(r->id), r->id };
	home.secret = (ProtobufCBinaryData){ sizeof(r->secret), r->secret };
	home.host = (char *)"home";
	home.address = address;
	r->mount = cor_home_mount(&o, &e);
	if (r->mount < 0)
		errx(1, "%s", e.text);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 ||
	    move_mount(r->mount, "", AT_FDCWD, r->seen, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		err(1, "mounting the home at %s", r->seen);
}

struct home_rig *home_rig_start(const char *dir, char path[256], char far[256])
{
	struct home_rig *r = calloc(1, sizeof(*r));
	struct cor_error e = COR_ERROR_INIT;
	int port;

	if (!r)
		err(1, "home");
	snprintf(r->top, sizeof(r->top), "%s/cor-bench-XXXXXX", dir);
	if (!mkdtemp(r->top))
		err(1, "%s", r->top);
	snprintf(path, 256, "%.200s/files", r->top);
	snprintf(r->seen, sizeof(r->seen), "%s/seen", r->top);
	if (mkdir(path, 0755) < 0 || mkdir(r->seen, 0755) < 0)
		err(1, "%s", path);
	serve(r);
	port = cor_tcp_listen("127.0.0.1:0", &r->listener, &e);
	if (port < 0)
		errx(1, "%s", e.text);
	if (pthread_create(&r->cord, NULL, cord, r) != 0)
		errx(1, "a thread");
	mount_it(r, (unsigned)port);
	if (snprintf(far, 256, "%s%s", r->seen, path) >= 256)
		errx(1, "%s is too long a path", dir);
	return r;
}

void home_rig_end(struct home_rig *r)
{
	char command[320];

	close(r->control);
	umount2(r->seen, MNT_DETACH);
	close(r->mount);
	r->ending = true;
	pthread_join(r->cord, NULL);
	close(r->listener);
	snprintf(command, sizeof(command), "rm -rf --one-file-system '%s'", r->top);
	if (system(command) != 0)
		warnx("%s remains", r->top);
	free(r);
}
