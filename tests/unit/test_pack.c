/* Packing pages: what comes out goes in again, and when it is done at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "libcor/paging/pack.h"

#define RAW  (256u << 10)
#define FAST 100000u            /* ns for so much: 2.6 GB/s */
#define SLOW 20000000u          /* 13 MB/s */
#define WORK 10000u             /* to send it to the kernel */

struct fixture {
	struct cor_packer *p;
	uint64_t now, cpu;
	uint8_t text[RAW], noise[RAW], back[RAW];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint64_t x = 88172645463325252u;

	assert_non_null(f);
	for (unsigned i = 0; i < RAW; i++) {
		f->text[i] = (uint8_t)(i / 512 + (i % 7 == 0));
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		f->noise[i] = (uint8_t)x;
	}
	f->p = cor_packer_new(RAW);
	assert_non_null(f->p);
	f->now = 1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	cor_packer_free(f->p);
	free(f);
	return 0;
}

/* Sends data n times over a link that takes ns for RAW bytes; how often packed. */
static unsigned send(struct fixture *f, const void *data, unsigned n, uint64_t ns)
{
	unsigned packed = 0;

	while (n--) {
		const void *out;
		size_t len = cor_packer_begin(f->p, f->now) ? cor_pack(f->p, data, RAW, &out) : 0;

		packed += len > 0;
		len = len ? len : RAW;
		f->cpu += WORK;
		cor_packer_sent(f->p, len, f->now + WORK, f->cpu);
		f->now += WORK + ns * len / RAW;
	}
	return packed;
}

static void packed_pages_come_back(void **state)
{
	struct fixture *f = *state;
	const void *out;
	size_t n;

	cor_packer_begin(f->p, 1);
	n = cor_pack(f->p, f->text, RAW, &out);
	assert_in_range(n, 1, RAW - RAW / 8);
	assert_true(cor_unpack(out, n, f->back, RAW));
	assert_memory_equal(f->text, f->back, RAW);
}

static void several_parts_share_the_buffer(void **state)
{
	struct fixture *f = *state;
	const void *out[8];
	size_t n[8];

	cor_packer_begin(f->p, 1);
	for (unsigned i = 0; i < 8; i++)
		n[i] = cor_pack(f->p, (i & 1 ? f->noise : f->text) + i * RAW / 8, RAW / 8, &out[i]);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(n[i] > 0, !(i & 1));
		if (i & 1)
			continue;
		assert_true(cor_unpack(out[i], n[i], f->back, RAW / 8));
		assert_memory_equal(f->text + i * RAW / 8, f->back, RAW / 8);
	}
}

static void noise_is_sent_as_it_is(void **state)
{
	struct fixture *f = *state;
	const void *out;

	cor_packer_begin(f->p, 1);
	assert_int_equal(cor_pack(f->p, f->noise, RAW, &out), 0);
}

static void what_is_cut_or_too_long_is_refused(void **state)
{
	struct fixture *f = *state;
	const void *out;
	size_t n;

	cor_packer_begin(f->p, 1);
	n = cor_pack(f->p, f->text, RAW, &out);
	assert_false(cor_unpack(out, n - 1, f->back, RAW));
	assert_false(cor_unpack(out, n, f->back, RAW - 1));
	assert_false(cor_unpack(out, 0, f->back, RAW));
	assert_false(cor_unpack(f->noise, n, f->back, RAW));
}

static void nothing_is_packed_on_a_fast_link(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send(f, f->text, 500, FAST), 0);
}

static void a_slow_link_is_packed_for(void **state)
{
	struct fixture *f = *state;
	unsigned n = send(f, f->text, 500, SLOW);

	/* not always: the other way is looked at */
	assert_in_range(n, 400, 499);
}

static void noise_is_not_packed_for_long(void **state)
{
	struct fixture *f = *state;

	send(f, f->noise, 100, SLOW);
	assert_int_equal(send(f, f->noise, 200, SLOW), 0);
}

static void noise_that_ends_is_noticed(void **state)
{
	struct fixture *f = *state;

	send(f, f->noise, 200, SLOW);
	assert_in_range(send(f, f->text, 300, SLOW), 150, 300);
}

/* It is the host that takes the time: between two requests there is none. */
static void a_busy_server_does_not_pack(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 200; i++) {
		assert_false(cor_packer_begin(f->p, f->now));
		f->now += SLOW;
		cor_packer_sent(f->p, RAW, f->now, f->now);
		f->now += WORK;
	}
}

/* The next request is there already, and the socket is full. */
static void a_server_that_waits_in_send_packs(void **state)
{
	struct fixture *f = *state;
	unsigned packed = 0;

	for (unsigned i = 0; i < 200; i++) {
		const void *out;
		size_t len = cor_packer_begin(f->p, f->now) ? cor_pack(f->p, f->text, RAW, &out) : 0;

		packed += len > 0;
		f->now += SLOW * (len ? len : RAW) / RAW;
		f->cpu += WORK;
		cor_packer_sent(f->p, len ? len : RAW, f->now, f->cpu);
		f->now += WORK;
	}
	assert_in_range(packed, 100, 200);
}

static void a_pause_says_nothing(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 200; i++) {
		send(f, f->text, 7, FAST);
		f->now += 1000000000;
		assert_int_equal(send(f, f->text, 1, FAST), 0);
	}
}

static void a_link_that_becomes_fast_is_noticed(void **state)
{
	struct fixture *f = *state;

	send(f, f->text, 100, SLOW);
	send(f, f->text, 100, FAST);
	assert_int_equal(send(f, f->text, 200, FAST), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(packed_pages_come_back),
		T(several_parts_share_the_buffer),
		T(noise_is_sent_as_it_is),
		T(what_is_cut_or_too_long_is_refused),
		T(nothing_is_packed_on_a_fast_link),
		T(a_slow_link_is_packed_for),
		T(noise_is_not_packed_for_long),
		T(noise_that_ends_is_noticed),
		T(a_busy_server_does_not_pack),
		T(a_server_that_waits_in_send_packs),
		T(a_pause_says_nothing),
		T(a_link_that_becomes_fast_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
