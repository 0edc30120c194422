/* The pseudo-terminal that the task has where it is, from the master's side; see
 * pump/tty.h. We keep its other side open too: so the master does not hang up while the
 * task has it closed, and the terminal ends with the task's session. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/pump/tty.h"
#include "libcor/task/supervisor.h"

static int open_master(void)
{
	int unlock = 0, fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, TIOCSPTLCK, &unlock) < 0)
		cor_closep(&fd);
	return fd < 0 ? -errno : fd;
}

static void set(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch)
{
	struct cor_pump_tty *t = e->tty;

	t->foreground = ch->foreground;
	if (ch->termios.len == sizeof(t->modes))
		memcpy(&t->modes, ch->termios.data, sizeof(t->modes));
	if (ch->winsize.len == sizeof(t->size))
		memcpy(&t->size, ch->winsize.data, sizeof(t->size));
	cor_tty_set(t->slave, &t->modes, false);
	cor_tty_get(t->slave, &t->modes);
	ioctl(t->slave, TIOCSWINSZ, &t->size);
}

static int make(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task,
		struct cor_error *err)
{
	_cleanup_close_ int master = open_master();
	_cleanup_close_ int theirs = -1;

	if (master < 0)
		return cor_fail_code(err, master, "a pseudo-terminal for %s", ch->what);
	e->tty = cor_pump_tty_new(ch);
	if (!e->tty)
		return cor_fail(err, -ENOMEM, "out of memory");
	e->tty->slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	theirs = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (e->tty->slave < 0 || theirs < 0 || fchown(theirs, ch->uid, ch->gid) < 0 ||
	    fchmod(theirs, ch->mode & 07777) < 0)
		return cor_fail_errno(err, "a pseudo-terminal for %s", ch->what);
	set(e, ch);
	e->fd = take_fd(&master);
	e->reads = e->writes = true;
	e->readable = e->writable = true;
	*task = take_fd(&theirs);
	return 0;
}

/* ---- changes --------------------------------------------------------------------------- */

static void look(struct cor_pump_end *e)
{
	struct cor_pump_tty *t = e->tty;
	struct termios2 modes;
	struct winsize size;

	if (cor_tty_get(t->slave, &modes) == 0 && !cor_tty_same(&modes, &t->modes)) {
		t->modes = modes;
		cor_pump_tty_say(t, COR_PUMP_TTY_MODES, &modes, sizeof(modes));
	}
	if (ioctl(t->slave, TIOCGWINSZ, &size) == 0 && memcmp(&size, &t->size, sizeof(size))) {
		t->size = size;
		cor_pump_tty_say(t, COR_PUMP_TTY_SIZE, &size, sizeof(size));
	}
}

static bool tick(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	if (e->fd >= 0)
		look(e);
	return false;
}

void cor_pump_pty_tell(struct cor_pump_end *e, int supervisor, int signal)
{
	struct cor_supervisor_terminal whose = { .foreground = e->tty->foreground,
						 .signal = signal };

	send(supervisor, &whose, sizeof(whose), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void cor_pump_pty_change(struct cor_pump_end *e, const struct cor_pump_tty_event *ev,
			 int supervisor)
{
	struct cor_pump_tty *t = e->tty;

	if (e->fd < 0)
		return;
	switch (ev->what) {
	case COR_PUMP_TTY_MODES:
		memcpy(&t->modes, ev->data, sizeof(t->modes));
		cor_tty_set(t->slave, &t->modes, false);
		cor_tty_get(t->slave, &t->modes);
		break;
	case COR_PUMP_TTY_SIZE:
		memcpy(&t->size, ev->data, sizeof(t->size));
		ioctl(e->fd, TIOCSWINSZ, &t->size);
		break;
	case COR_PUMP_TTY_FOREGROUND:
		t->foreground = ev->data[0];
		cor_pump_pty_tell(e, supervisor, 0);
		break;
	}
}

/* ---- moving on ---------------------------------------------------------------------------- */

static int freeze(struct cor_pump_end *e, struct cor_pump_queue *in)
{
	if (e->fd < 0)
		return 0;
	look(e);
	return cor_tty_take_typed(e->tty->slave, in, true);
}

static int describe(const struct cor_pump_end *e, Cor__Names__PumpChannel *ch)
{
	const struct cor_pump_tty *t = e->tty;

	free(ch->termios.data);
	free(ch->winsize.data);
	ch->termios = ch->winsize = (ProtobufCBinaryData){ 0, NULL };
	ch->foreground = t->foreground;
	if (cor_file_bytes(&ch->termios, &t->modes, sizeof(t->modes)) < 0)
		return -ENOMEM;
	return cor_file_bytes(&ch->winsize, &t->size, sizeof(t->size));
}

/* ---- bytes --------------------------------------------------------------------------------- */

static ssize_t read_end(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	ssize_t n;

	if (e->fd < 0)
		return 0;
	n = cor_pump_queue_read(q, e->fd, COR_MIN(room, (size_t)4096));
	if (n == -ENOMEM)
		return n;
	look(e);
	/* the terminal is at its end when the task is, and has said all */
	return n == -EAGAIN && e->tty->over ? 0 : n == -EIO ? 0 : n;
}

static ssize_t write_end(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	size_t skip = q->start - i->at;
	ssize_t n;

	if (e->fd < 0)
		return -EPIPE;
	if (i->event) {
		if (i->event == COR_PUMP_TYPED)
			cor_tty_put_typed(e->fd, e->tty->slave, i->data, i->len);
		return 1;
	}
	do
		n = write(e->fd, i->data + skip, i->len - skip);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	return n;
}

/* The terminal at home has hung up: so does this one, and says so to those who have it. */
static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
	if (!reading && e->fd >= 0) {
		cor_closep(&e->tty->slave);
		cor_closep(&e->fd);
		e->tty->slave = e->fd = -1;
		e->readable = true;
	}
}

static bool gone(const struct cor_pump_end *e, uint32_t events)
{
	return false;
}

static uint64_t identity(const struct cor_pump_end *e)
{
	return e->fd < 0 ? 0 : cor_tty_device(e->tty->slave);
}

const struct cor_pump_end_ops cor_pump_end_pty = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_TERMINAL,
	.make  = make,
	.update = set,
	.freeze = freeze,
	.describe = describe,
	.read  = read_end,
	.write = write_end,
	.shut  = shut,
	.gone  = gone,
	.tick  = tick,
	.identity = identity,
};
