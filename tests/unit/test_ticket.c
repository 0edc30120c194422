/* Tickets: one text each, and nothing else is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/paging/ticket.h"

#define ID     "000102030405060708090a0b0c0d0e0f"
#define SECRET "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void ticket_has_one_text(void **state)
{
	static const char *const texts[] = {
		"cor1:tcp:127.0.0.1:7000:" ID ":" SECRET ":4096",
		"cor1:tcp:[::1]:1:" ID ":" SECRET ":1073741824",
		"cor1:tcp:host.example:65535:" ID ":" SECRET ":72057594037927936",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		char again[COR_TICKET_TEXT];
		struct cor_ticket t;

		assert_int_equal(cor_ticket_parse(texts[i], &t, NULL), 0);
		assert_int_equal(t.secret[0], 0xff);
		assert_int_equal(t.id[15], 0x0f);
		assert_int_equal(cor_ticket_format(&t, again, NULL), 0);
		assert_string_equal(again, texts[i]);
	}
}

static void malformed_tickets_are_refused(void **state)
{
	static const struct { int code; const char *text; } bad[] = {
		{ -EINVAL, "" }, { -EINVAL, "cor1" }, { -EINVAL, "cor1:" }, { -EINVAL, "cor1::::::" },
		{ -EINVAL, "corn:" },
		{ -ENOTSUP, "cor2:tcp:h:1:" ID ":" SECRET ":4096" },
		{ -ENOTSUP, "cor1:udp:h:1:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":0" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":4095" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":04096" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":+4096" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":4096 " },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":99999999999999999" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET ":18446744073709555712" },
		{ -EINVAL, "cor1:tcp:h:1:" ID "0:" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:h:1:" ID ":" SECRET "00:4096" },
		{ -EINVAL, "cor1:tcp:h:1:000102030405060708090A0B0C0D0E0F:" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:h:0:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:h:01:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:h:70000:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp::1:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:*:1:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:h:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:h\n:1:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcp:::1:1:" ID ":" SECRET ":4096" },
		{ -EINVAL, "cor1:tcptcptcptcptcptcp:h:1:" ID ":" SECRET ":4096" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cor_ticket t = { .size = 77 };
		struct cor_error err;

		if (cor_ticket_parse(bad[i].text, &t, &err) != bad[i].code)
			fail_msg("%s", bad[i].text);
		assert_int_equal(t.size, 77);
		assert_null(strstr(err.text, SECRET));
	}
}

static void overlong_ticket_is_refused(void **state)
{
	_cleanup_free_ char *text = malloc(100000);
	struct cor_ticket t;

	assert_non_null(text);
	memset(text, ':', 99999);
	memcpy(text, "cor1:tcp:", 9);
	text[99999] = 0;
	assert_int_equal(cor_ticket_parse(text, &t, NULL), -EINVAL);
}

static void every_cut_and_every_changed_byte_is_survived(void **state)
{
	static const char whole[] = "cor1:tcp:[::1]:7000:" ID ":" SECRET ":8192";
	char text[sizeof(whole)];
	struct cor_ticket t;

	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		_cleanup_free_ char *cut = strndup(whole, len);   /* its end is the sanitizer's to watch */

		(void)cor_ticket_parse(cut, &t, NULL);
		for (int c = 1; c < 256; c += 7) {
			char again[COR_TICKET_TEXT];

			memcpy(text, whole, sizeof(whole));
			text[len] = (char)c;
			if (cor_ticket_parse(text, &t, NULL) < 0)
				continue;
			assert_int_equal(cor_ticket_format(&t, again, NULL), 0);
			assert_string_equal(again, text);
		}
	}
}

static void ticket_that_cannot_be_is_not_made(void **state)
{
	struct cor_ticket good = { .transport = "tcp", .addrport = "h:1", .size = 4096 }, t;
	char text[COR_TICKET_TEXT] = "untouched";

	t = good;
	t.size = 100;
	assert_int_equal(cor_ticket_format(&t, text, NULL), -EINVAL);
	t = good;
	strcpy(t.transport, "none");
	assert_int_equal(cor_ticket_format(&t, text, NULL), -EINVAL);
	t = good;
	strcpy(t.addrport, "h:0");
	assert_int_equal(cor_ticket_format(&t, text, NULL), -EINVAL);
	assert_string_equal(text, "untouched");
	assert_int_equal(cor_ticket_format(&good, text, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ticket_has_one_text),
		cmocka_unit_test(malformed_tickets_are_refused),
		cmocka_unit_test(overlong_ticket_is_refused),
		cmocka_unit_test(every_cut_and_every_changed_byte_is_survived),
		cmocka_unit_test(ticket_that_cannot_be_is_not_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
