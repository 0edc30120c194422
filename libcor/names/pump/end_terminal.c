/* The terminal at home; see pump/tty.h. We are no member of its session: so we may read
 * and write it whoever is in the foreground, and must look who is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/pump/tty.h"
#include "libcor/task/procfs.h"

static int open_terminal(int fd, const Cor__Names__PumpChannel *ch)
{
	int flags = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, again = cor_file_reopen(fd, (unsigned)flags);

	/* opened as /dev/tty it leads to the opener's own terminal, and we have none */
	if (again >= 0 && cor_tty_device(again) == cor_tty_device(fd))
		return again;
	cor_closep(&again);
	again = open(ch->what, flags);
	if (again >= 0 && cor_tty_device(again) == cor_tty_device(fd))
		return again;
	cor_closep(&again);
	return again < 0 ? -errno : -ENXIO;
}

static int take(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd,
		struct cor_error *err)
{
	e->fd = open_terminal(fd, ch);
	if (e->fd < 0)
		return cor_fail_code(err, e->fd, "opening the terminal %s for the pump", ch->what);
	e->tty = cor_pump_tty_new(ch);
	if (!e->tty)
		return cor_fail(err, -ENOMEM, "out of memory");
	e->tty->foreground = false;     /* that is yet to be seen */
	e->reads = e->writes = true;
	e->readable = e->writable = true;
	return 0;
}

/* ---- who has it ------------------------------------------------------------------------- */

static bool has_it(const struct cor_pump_tty *t)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_stat st;
	char path[40];

	if (t->held || t->place <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)t->place);
	return cor_slurp(AT_FDCWD, path, &text, NULL) == 0 && cor_parse_stat(text, &st) == 0 &&
	       st.state != 'Z' && st.state != 'X' && st.tpgid > 0 && st.tpgid == st.pgrp;
}

static void apply(struct cor_pump_end *e)
{
	struct termios2 raw = cor_tty_raw(&e->tty->modes);

	cor_tty_set(e->fd, &raw, false);
	/* as the terminal has taken them */
	if (cor_tty_get(e->fd, &e->tty->applied) < 0)
		e->tty->applied = raw;
}

static void say_foreground(struct cor_pump_tty *t)
{
	uint8_t yes = t->foreground;

	cor_pump_tty_say(t, COR_PUMP_TTY_FOREGROUND, &yes, sizeof(yes));
}

/* Its modes are what whoever had it before, its shell as a rule, has given it. */
static void enter(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	struct cor_pump_tty *t = e->tty;

	if (cor_tty_get(e->fd, &t->modes) < 0)
		return;
	t->foreground = true;
	cor_pump_tty_say(t, COR_PUMP_TTY_MODES, &t->modes, sizeof(t->modes));
	say_foreground(t);
	/* this has been echoed and edited */
	cor_tty_take_typed(e->fd, q, false);
	apply(e);
	e->readable = true;
}

static void leave(struct cor_pump_end *e, bool restore)
{
	if (restore)
		cor_tty_set(e->fd, &e->tty->modes, true);
	e->tty->foreground = false;
	say_foreground(e->tty);
}

/* Someone else has changed the terminal's modes: then these are the task's too. */
static void look_at_modes(struct cor_pump_end *e)
{
	struct cor_pump_tty *t = e->tty;
	struct termios2 now;

	if (cor_tty_get(e->fd, &now) < 0 || cor_tty_same(&now, &t->applied))
		return;
	t->modes = now;
	apply(e);
	cor_pump_tty_say(t, COR_PUMP_TTY_MODES, &t->modes, sizeof(t->modes));
}

static void look_at_size(struct cor_pump_end *e)
{
	struct cor_pump_tty *t = e->tty;
	struct winsize now;

	if (ioctl(e->fd, TIOCGWINSZ, &now) < 0 || memcmp(&now, &t->size, sizeof(now)) == 0)
		return;
	t->size = now;
	cor_pump_tty_say(t, COR_PUMP_TTY_SIZE, &now, sizeof(now));
}

void cor_pump_terminal_look(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	struct cor_pump_tty *t = e->tty;
	bool has;

	if (e->fd < 0)
		return;
	has = has_it(t);
	look_at_size(e);
	if (has && !t->foreground)
		enter(e, q);
	else if (!has && t->foreground)
		leave(e, false);
	else if (has)
		look_at_modes(e);
}

void cor_pump_terminal_hold(struct cor_pump_end *e, bool ended)
{
	if (e->fd >= 0 && e->tty->foreground)
		leave(e, true);
	e->tty->held = true;
	if (ended) {
		e->tty->over = true;
		e->readable = true;
	}
}

void cor_pump_terminal_unhold(struct cor_pump_end *e)
{
	e->tty->held = false;
}

void cor_pump_terminal_change(struct cor_pump_end *e, const struct cor_pump_tty_event *ev)
{
	struct cor_pump_tty *t = e->tty;

	if (e->fd < 0)
		return;
	switch (ev->what) {
	case COR_PUMP_TTY_MODES:
		memcpy(&t->modes, ev->data, sizeof(t->modes));
		if (t->foreground)
			apply(e);
		break;
	case COR_PUMP_TTY_SIZE:
		memcpy(&t->size, ev->data, sizeof(t->size));
		ioctl(e->fd, TIOCSWINSZ, &t->size);
		break;
	}
}

static bool tick(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	uint64_t before = q->end;

	cor_pump_terminal_look(e, q);
	return q->end != before;
}

/* ---- bytes --------------------------------------------------------------------------------- */

static bool hung_up(int fd)
{
	struct winsize size;

	return ioctl(fd, TIOCGWINSZ, &size) < 0 && errno == EIO;
}

static ssize_t read_end(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	if (e->tty->over || hung_up(e->fd))
		return 0;
	/* what is typed is for another one */
	if (!e->tty->foreground)
		return -EAGAIN;
	return cor_pump_queue_read(q, e->fd, COR_MIN(room, (size_t)4096));
}

/* Where the terminal is not ours it makes its own line ends, and ours are left out. */
static ssize_t write_cooked(int fd, const uint8_t *data, size_t len)
{
	struct termios2 modes;
	bool own = cor_tty_get(fd, &modes) == 0 && (modes.c_oflag & OPOST) && (modes.c_oflag & ONLCR);
	ssize_t done;
	size_t n = 0;

	while (n < len && !(own && n + 1 < len && data[n] == '\r' && data[n + 1] == '\n'))
		n++;
	if (n == 0)
		return 1;
	do
		done = write(fd, data, n);
	while (done < 0 && errno == EINTR);
	return done < 0 ? (errno == EAGAIN ? -EAGAIN : -EPIPE) : done;
}

static ssize_t write_end(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	size_t skip = q->start - i->at;
	ssize_t n;

	if (i->event)
		return 1;
	if (!e->tty->foreground)
		return write_cooked(e->fd, i->data + skip, i->len - skip);
	do
		n = write(e->fd, i->data + skip, i->len - skip);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	return n;
}

static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
}

static bool gone(const struct cor_pump_end *e, uint32_t events)
{
	return hung_up(e->fd);
}

static uint64_t identity(const struct cor_pump_end *e)
{
	return 0;
}

const struct cor_pump_end_ops cor_pump_end_terminal = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_TERMINAL,
	.take  = take,
	.read  = read_end,
	.write = write_end,
	.shut  = shut,
	.gone  = gone,
	.tick  = tick,
	.identity = identity,
};
