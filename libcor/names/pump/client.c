/* How a worker speaks to a pump; see pump/pump.h. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/pump/pump.h"
#include "libcor/task/channel.h"

void cor_pump_id_text(const uint8_t id[COR_SESSION_ID], char text[2 * COR_SESSION_ID + 1])
{
	for (unsigned i = 0; i < COR_SESSION_ID; i++)
		sprintf(text + 2 * i, "%02x", id[i]);
}

void cor_pump_home_path(const char *dir, const uint8_t id[COR_SESSION_ID], char *path, size_t size)
{
	char text[2 * COR_SESSION_ID + 1];

	cor_pump_id_text(id, text);
	snprintf(path, size, "%s/%s", dir, text);
}

int cor_pump_send(int sock, enum cor_pump_request what, const Cor__Names__PumpLink *link,
		  const int *fds, unsigned nfds, struct cor_error *err)
{
	size_t n = link ? cor__names__pump_link__get_packed_size(link) : 0;
	_cleanup_free_ uint8_t *bytes = malloc(n + 1);
	struct cor_message m = { .kind = what, .fds = (int *)fds, .nfds = nfds, .len = n,
				 .buf = bytes };

	int r;

	if (!bytes)
		return cor_fail(err, -ENOMEM, "out of memory");
	if (link)
		cor__names__pump_link__pack(link, bytes);
	r = cor_message_send(sock, &m);
	return r < 0 ? cor_fail(err, -EPIPE, "the pump of this task has ended") : 0;
}

int cor_pump_await(int sock, enum cor_pump_request what, Cor__Names__PumpLink **answer,
		   int **answer_fds, unsigned *nanswer, struct cor_error *err)
{
	_cleanup_(cor_message_clear) struct cor_message m = { 0 };
	int r = cor_message_recv(sock, &m);

	if (r < 0)
		return cor_fail(err, -EPIPE, "the pump of this task has ended");
	if (m.kind != what)
		return cor_fail(err, -EPROTO, "the pump gave no proper answer");
	if (m.op < 0)
		return m.len ? cor_fail(err, m.op, "%s", (char *)m.buf) :
			       cor_fail_code(err, m.op, "the pump");
	if (answer) {
		*answer = cor__names__pump_link__unpack(NULL, m.len, m.buf);
		if (!*answer)
			return cor_fail(err, -EPROTO, "the pump's answer cannot be read");
	}
	if (answer_fds) {
		*answer_fds = take_ptr(m.fds);
		*nanswer = m.nfds;
		m.nfds = 0;
	}
	return 0;
}

int cor_pump_ask(int sock, enum cor_pump_request what, const Cor__Names__PumpLink *link,
		 const int *fds, unsigned nfds, Cor__Names__PumpLink **answer, int **answer_fds,
		 unsigned *nanswer, struct cor_error *err)
{
	int r = cor_pump_send(sock, what, link, fds, nfds, err);

	return r < 0 ? r : cor_pump_await(sock, what, answer, answer_fds, nanswer, err);
}

int cor_pump_tell(int sock, enum cor_pump_request what, int32_t op, const void *buf, size_t len,
		  int fd)
{
	struct cor_message m = { .kind = what, .op = op, .buf = (void *)buf, .len = len,
				 .fds = &fd, .nfds = fd >= 0 };

	return cor_message_send(sock, &m);
}

int cor_pump_connect(const char *path, struct cor_error *err)
{
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (sock < 0)
		return cor_fail_errno(err, "a socket");
	if (strlen(path) >= sizeof(sun.sun_path))
		return cor_fail(err, -ENAMETOOLONG, "%s is too long for a socket's name", path);
	strcpy(sun.sun_path, path);
	if (connect(sock, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return cor_fail(err, -ENOENT, "there is no pump at %s", path);
		return cor_fail_errno(err, "the pump at %s", path);
	}
	return take_fd(&sock);
}

void cor_pump_clients_free(struct cor_pump_client *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		cor_closep(&c[i].sock);
		if (c[i].link)
			cor__names__pump_link__free_unpacked(c[i].link, NULL);
	}
	free(c);
}

/* One that has just ended is none. */
static int add_client(const char *path, struct cor_pump_client **clients, unsigned *n)
{
	struct cor_pump_client c = { .sock = cor_pump_connect(path, NULL) }, *more;

	if (c.sock == -ENOENT)
		return 0;
	if (c.sock < 0)
		return c.sock;
	more = realloc(*clients, (*n + 1) * sizeof(*more));
	if (!more) {
		close(c.sock);
		return -ENOMEM;
	}
	*clients = more;
	if (cor_pump_ask(c.sock, COR_PUMP_DESCRIBE, NULL, NULL, 0, &c.link, NULL, NULL, NULL) < 0) {
		close(c.sock);
		return 0;
	}
	more[(*n)++] = c;
	return 0;
}

int cor_pumps_of_task(const char *dir, pid_t pid, struct cor_pump_client **out, unsigned *nout,
		      struct cor_error *err)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct cor_pump_client *clients = NULL;
	char begins[16], path[300];
	unsigned n = 0;
	struct dirent *e;
	int r = 0;

	if (!d && errno != ENOENT)
		return cor_fail_errno(err, "%s", dir);
	snprintf(begins, sizeof(begins), "%d.", (int)pid);
	while (r == 0 && d && (e = readdir(d))) {
		if (strncmp(e->d_name, begins, strlen(begins)))
			continue;
		snprintf(path, sizeof(path), "%s/%.100s", dir, e->d_name);
		r = add_client(path, &clients, &n);
	}
	if (r < 0) {
		cor_pump_clients_free(clients, n);
		return cor_fail_code(err, r, "the pumps of process %d", (int)pid);
	}
	*out = clients;
	*nout = n;
	return 0;
}
