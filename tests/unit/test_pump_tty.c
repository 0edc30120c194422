/* Terminals as ends of the pump: modes, and input that was edited already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/pump/channel.h"
#include "libcor/names/pump/tty.h"

struct terminal { int master, slave; };

static struct terminal open_terminal(void)
{
	struct terminal t = { .master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) };
	int unlock = 0;

	assert_true(t.master >= 0);
	assert_int_equal(ioctl(t.master, TIOCSPTLCK, &unlock), 0);
	t.slave = ioctl(t.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	assert_true(t.slave >= 0);
	return t;
}

static void close_terminal(struct terminal *t)
{
	close(t->master);
	close(t->slave);
}

/* What the line discipline does is done when a read says that nothing is there. */
static size_t drain(int fd, char *buf, size_t size)
{
	size_t len = 0;

	for (unsigned i = 0; i < 200; i++) {
		ssize_t n = read(fd, buf + len, size - len - 1);

		if (n > 0)
			len += (size_t)n;
		else
			usleep(1000);
	}
	buf[len] = 0;
	return len;
}

static void type(const struct terminal *t, const char *text)
{
	char echo[256];

	assert_int_equal(write(t->master, text, strlen(text)), strlen(text));
	drain(t->master, echo, sizeof(echo));
}

static void test_half_a_line_moves_and_can_be_edited(void **state)
{
	struct terminal here = open_terminal(), there = open_terminal();
	struct cor_pump_queue q;
	const struct cor_pump_item *i;
	char buf[256];

	cor_pump_queue_init(&q, 100);
	type(&here, "whole\rhalx\x7f" "f");
	assert_int_equal(cor_tty_take_typed(here.slave, &q, true), 0);
	assert_int_equal(q.start, 99);
	i = cor_pump_queue_at(&q, 99);
	assert_int_equal(i->event, COR_PUMP_TYPED);
	assert_int_equal(i->len, 10);
	assert_memory_equal(i->data, "whole\nhalf", 10);
	assert_int_equal(read(here.slave, buf, sizeof(buf)), -1);       /* nothing is left there */

	cor_tty_put_typed(there.master, there.slave, i->data, i->len);
	assert_int_equal(drain(there.master, buf, sizeof(buf)), 0);     /* and not echoed here */
	assert_int_equal(read(there.slave, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "whole\n", 6);
	type(&there, "\x7f" "ves\r");
	assert_int_equal(read(there.slave, buf, sizeof(buf)), 7);
	assert_memory_equal(buf, "halves\n", 7);
	cor_pump_queue_clear(&q);
	close_terminal(&here);
	close_terminal(&there);
}

static void test_modes_stay_as_they_were(void **state)
{
	struct terminal t = open_terminal();
	struct termios2 before, after;
	struct cor_pump_queue q;

	cor_pump_queue_init(&q, 10);
	assert_int_equal(cor_tty_get(t.slave, &before), 0);
	cor_tty_put_typed(t.master, t.slave, "x", 1);
	assert_int_equal(cor_tty_take_typed(t.slave, &q, false), 0);
	assert_int_equal(q.end, 11);
	assert_int_equal(cor_tty_get(t.slave, &after), 0);
	assert_true(cor_tty_same(&before, &after));
	cor_pump_queue_clear(&q);
	close_terminal(&t);
}

static void test_raw_does_nothing(void **state)
{
	struct terminal t = open_terminal();
	struct termios2 modes;
	char buf[32];

	assert_int_equal(cor_tty_get(t.slave, &modes), 0);
	modes = cor_tty_raw(&modes);
	assert_int_equal(cor_tty_set(t.slave, &modes, false), 0);
	assert_int_equal(write(t.master, "\x03\r\x13\x11\x7f", 5), 5);
	assert_int_equal(drain(t.slave, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "\x03\r\x13\x11\x7f", 5);
	assert_int_equal(write(t.slave, "a\n", 2), 2);
	assert_int_equal(drain(t.master, buf, sizeof(buf)), 2);
	close_terminal(&t);
}

static void test_only_the_tasks_side_is_a_terminal(void **state)
{
	struct terminal t = open_terminal();
	int null = open("/dev/null", O_RDWR);

	assert_true(cor_tty_device(t.slave) != 0);
	assert_int_equal(cor_tty_device(t.master), 0);
	assert_int_equal(cor_tty_device(null), 0);
	close(null);
	close_terminal(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_a_line_moves_and_can_be_edited),
		cmocka_unit_test(test_modes_stay_as_they_were),
		cmocka_unit_test(test_raw_does_nothing),
		cmocka_unit_test(test_only_the_tasks_side_is_a_terminal),
	};

	if (access("/dev/ptmx", R_OK | W_OK) < 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
