/* What terminals at home and away have in common; see pump/tty.h. */
#include "libcor/names/pump/tty.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"

#define TYPED_MAX 8192u         /* a terminal's queue holds half of that */

struct cor_pump_tty *cor_pump_tty_new(const Cor__Names__PumpChannel *ch)
{
	struct cor_pump_tty *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->slave = -1;
	t->foreground = ch->foreground;
	if (ch->termios.len == sizeof(t->modes))
		memcpy(&t->modes, ch->termios.data, sizeof(t->modes));
	if (ch->winsize.len == sizeof(t->size))
		memcpy(&t->size, ch->winsize.data, sizeof(t->size));
	return t;
}

void cor_pump_tty_free(struct cor_pump_tty *t)
{
	if (!t)
		return;
	cor_closep(&t->slave);
	free(t);
}

void cor_pump_tty_say(struct cor_pump_tty *t, enum cor_pump_tty_change what, const void *data,
		      size_t len)
{
	struct cor_pump_tty_event ev = { .what = what };

	memcpy(ev.data, data, len);
	/* without memory it is said at the next change */
	if (t->control)
		cor_pump_queue_event(t->control, COR_PUMP_TERMINAL, &ev, sizeof(ev));
}

/* ---- modes -------------------------------------------------------------------------- */

int cor_tty_get(int fd, struct termios2 *out)
{
	return ioctl(fd, TCGETS2, out) < 0 ? -errno : 0;
}

int cor_tty_set(int fd, const struct termios2 *modes, bool drain)
{
	return ioctl(fd, drain ? TCSETSW2 : TCSETS2, modes) < 0 ? -errno : 0;
}

bool cor_tty_same(const struct termios2 *a, const struct termios2 *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

struct termios2 cor_tty_raw(const struct termios2 *modes)
{
	struct termios2 raw = *modes;

	raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | INPCK | ISTRIP | INLCR | IGNCR |
				   ICRNL | IUCLC | IXON | IXOFF);
	raw.c_oflag &= ~(tcflag_t)OPOST;
	raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	return raw;
}

uint64_t cor_tty_device(int fd)
{
	unsigned dev = 0, number;

	/* TIOCGPTN is a master's alone */
	if (ioctl(fd, TIOCGPTN, &number) == 0 || ioctl(fd, TIOCGDEV, &dev) < 0)
		return 0;
	return dev;
}

/* ---- what was typed ------------------------------------------------------------------- */

static int add_typed(struct cor_pump_queue *q, const uint8_t *data, size_t len, bool in_front)
{
	/* in front: the last portion first */
	size_t n = (len + COR_PUMP_PAYLOAD_MAX - 1) / COR_PUMP_PAYLOAD_MAX;

	for (size_t i = 0; i < n; i++) {
		size_t at = (in_front ? n - 1 - i : i) * COR_PUMP_PAYLOAD_MAX;
		size_t portion = COR_MIN(len - at, (size_t)COR_PUMP_PAYLOAD_MAX);
		int r = in_front ?
			cor_pump_queue_event_first(q, COR_PUMP_TYPED, data + at, portion) :
			cor_pump_queue_event(q, COR_PUMP_TYPED, data + at, portion);

		if (r < 0)
			return r;
	}
	return 0;
}

int cor_tty_take_typed(int fd, struct cor_pump_queue *q, bool in_front)
{
	struct termios2 modes, raw;
	uint8_t typed[TYPED_MAX];
	size_t len = 0;
	int r = cor_tty_get(fd, &modes);

	if (r < 0)
		return r;
	/* raw, also the line that is being edited can be read */
	raw = cor_tty_raw(&modes);
	r = cor_tty_set(fd, &raw, false);
	if (r < 0)
		return r;
	while (len < sizeof(typed)) {
		ssize_t n = read(fd, typed + len, sizeof(typed) - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	r = cor_tty_set(fd, &modes, false);
	return r < 0 ? r : add_typed(q, typed, len, in_front);
}

/* Without CAP_SYS_ADMIN: poll(2) of a terminal without input waits for what is on its way. */
static void put_late(int master, int slave, const void *data, size_t len)
{
	struct pollfd p = { .fd = slave, .events = POLLIN };

	(void)!write(master, data, len);
	poll(&p, 1, 0);
}

void cor_tty_put_typed(int master, int slave, const void *data, size_t len)
{
	struct termios2 modes, plain;

	if (cor_tty_get(slave, &modes) < 0)
		return;
	plain = modes;
	plain.c_iflag = 0;
	plain.c_lflag &= (tcflag_t)(ICANON | TOSTOP);
	memset(plain.c_cc, 0, sizeof(plain.c_cc));
	plain.c_cc[VMIN] = modes.c_cc[VMIN];
	plain.c_cc[VTIME] = modes.c_cc[VTIME];
	if (modes.c_lflag & ICANON)     /* these two are VEOF and VEOL then */
		plain.c_cc[VMIN] = plain.c_cc[VTIME] = 0;
	if (cor_tty_set(slave, &plain, false) < 0)
		return;
	/* at once: what is written to the master is looked at later, with other modes */
	for (size_t i = 0; i < len; i++)
		if (ioctl(slave, TIOCSTI, (const char *)data + i) < 0) {
			put_late(master, slave, (const char *)data + i, len - i);
			break;
		}
	cor_tty_set(slave, &modes, false);
}
