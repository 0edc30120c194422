/* Fetching pages over a lane: from a real page server, and from one that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/fetch.h"
#include "libcor/paging/server.h"
#include "libcor/transport/stream_fault.h"
#include "tests/stream.h"
#include "tests/unit/fake_source.h"

#define P 4096u

struct fixture {
	struct cor_page_server *server;
	struct cor_stream *lane;
	int peer;
};

/* What the sink has been given: one letter a page. */
struct seen {
	char pages[4096];
	unsigned n;
	uint64_t next;
	int fail_at;
};

static int note(void *arg, uint64_t offset, const void *data, uint32_t npages)
{
	struct seen *s = arg;

	assert_true(offset == s->next);
	for (uint32_t i = 0; i < npages; i++) {
		uint8_t byte = data ? ((const uint8_t *)data)[i * P + 17] : 0;

		if (s->fail_at && s->n + 1 == (unsigned)s->fail_at)
			return -ENOSPC;
		assert_true(!data || byte == (uint8_t)(offset / P + i + 1));
		s->pages[s->n++] = data ? 'D' : 'Z';
	}
	s->next = offset + (uint64_t)npages * P;
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int sv[2];

	assert_non_null(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	f->lane = stream_of(sv[0]);
	f->peer = sv[1];
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	cor_page_server_free(f->server);
	cor_stream_close(f->lane);
	cor_closep(&f->peer);
	free(f);
	return 0;
}

static struct fixture *serve(void **state, struct cor_source *source)
{
	struct fixture *f = *state;

	assert_int_equal(cor_page_server_new(&f->server, source, NULL), 0);
	assert_int_equal(cor_page_server_add_lane(f->server, stream_of(take_fd(&f->peer)), COR_CONN_BULK, NULL), 0);
	return f;
}

static void pages_come_in_order(void **state)
{
	struct fixture *f = serve(state, fake_source("DDZDZZDDDD", NULL));
	struct seen s = { .next = P };

	assert_int_equal(cor_fetch(f->lane, 0, P, 8, false, note, &s, NULL), 0);
	assert_string_equal(s.pages, "DZDZZDDD");
}

static void many_requests_are_in_flight(void **state)
{
	int fd = memfd_create("pages", MFD_CLOEXEC);
	struct cor_source *source;
	struct seen s = { 0 };
	struct fixture *f;
	char page[P];

	assert_int_equal(ftruncate(fd, 3001 * P), 0);
	for (unsigned i = 0; i < 3001; i += 2) {
		memset(page, (int)(uint8_t)(i + 1), P);
		page[0] = 1;
		assert_int_equal(pwrite(fd, page, P, (off_t)i * P), P);
	}
	assert_int_equal(cor_source_file(&source, fd, 0, 3001 * P, NULL), 0);
	f = serve(state, source);
	assert_int_equal(cor_fetch(f->lane, 0, 0, 3001, false, note, &s, NULL), 0);
	assert_int_equal(s.n, 3001);
	for (unsigned i = 0; i < 3001; i++)
		assert_int_equal(s.pages[i], i % 2 ? 'Z' : 'D');
}

static void nothing_is_fetched_without_a_word(void **state)
{
	struct fixture *f = *state;
	struct seen s = { 0 };

	assert_int_equal(cor_fetch(f->lane, 0, 0, 0, false, note, &s, NULL), 0);
	assert_int_equal(cor_fetch(f->lane, 0, 5, 1, false, note, &s, NULL), -EINVAL);
}

static void missing_memory_and_errors_leave_the_lane_usable(void **state)
{
	struct fixture *f = serve(state, fake_source("DGDEDZ", NULL));
	struct cor_error err;
	struct seen s = { 0 };

	assert_int_equal(cor_fetch(f->lane, 0, 0, 3, false, note, &s, &err), -ENOENT);
	assert_string_equal(s.pages, "D");
	s = (struct seen){ .next = 2 * P };
	assert_int_equal(cor_fetch(f->lane, 0, 2 * P, 3, false, note, &s, &err), -EIO);
	assert_non_null(strstr(err.text, "0x3000"));
	s = (struct seen){ .next = 4 * P };
	assert_int_equal(cor_fetch(f->lane, 0, 4 * P, 2, false, note, &s, NULL), 0);
	assert_string_equal(s.pages, "DZ");
}

static void sink_can_end_it_and_the_lane_stays_usable(void **state)
{
	struct fixture *f = serve(state, fake_source("DDDDD", NULL));
	struct seen s = { .fail_at = 2 };

	assert_int_equal(cor_fetch(f->lane, 0, 0, 5, false, note, &s, NULL), -ENOSPC);
	s = (struct seen){ 0 };
	assert_int_equal(cor_fetch(f->lane, 0, 0, 5, false, note, &s, NULL), 0);
	assert_string_equal(s.pages, "DDDDD");
}

static void lying_server_is_found_out(void **state)
{
	static const struct cor_page_reply lies[] = {
		{ .status = COR_PAGE_ZERO, .npages = 2, .flags = COR_PAGE_LAST },
		{ .status = COR_PAGE_ZERO, .npages = 0, .flags = COR_PAGE_LAST },
		{ .status = COR_PAGE_ZERO, .npages = 1 },
		{ .status = COR_PAGE_ZERO, .npages = 1, .flags = COR_PAGE_LAST, .offset = P },
		{ .status = COR_PAGE_ZERO, .npages = 1, .flags = COR_PAGE_LAST, .object = 1 },
		{ .status = COR_PAGE_RUNS, .npages = 1, .flags = COR_PAGE_LAST },
		{ .status = 77, .npages = 1, .flags = COR_PAGE_LAST },
		{ .status = COR_PAGE_DATA, .npages = UINT32_MAX, .flags = COR_PAGE_LAST },
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct seen s = { 0 };

		assert_int_equal(cor_write_full(f->peer, &lies[i], sizeof(lies[i])), 0);
		assert_int_equal(cor_fetch(f->lane, 0, 0, 1, false, note, &s, NULL), -EPROTO);
		assert_int_equal(s.n, 0);
	}
}

static void reply_beyond_the_last_page_is_found_out(void **state)
{
	const uint64_t last = UINT64_MAX - 2 * P + 1;
	const struct cor_page_reply lie = { .status = COR_PAGE_ZERO, .npages = 64, .offset = last };
	struct seen s = { .next = last };
	struct fixture *f = *state;

	assert_int_equal(cor_write_full(f->peer, &lie, sizeof(lie)), 0);
	assert_int_equal(cor_fetch(f->lane, 0, last, 1, false, note, &s, NULL), -EPROTO);
	assert_int_equal(s.n, 0);
}

static void lane_that_ends_is_an_error(void **state)
{
	static const struct cor_page_reply half = { .status = COR_PAGE_DATA, .npages = 1,
						    .flags = COR_PAGE_LAST };
	struct fixture *f = *state;
	struct seen s = { 0 };

	assert_int_equal(cor_write_full(f->peer, &half, sizeof(half)), 0);
	shutdown(f->peer, SHUT_WR);
	assert_int_equal(cor_fetch(f->lane, 0, 0, 1, false, note, &s, NULL), -EPIPE);
	assert_int_equal(s.n, 0);
}

/* Both ends of the lane are ours: the server gets its own, unspoiled. */
static void spoil(struct fixture *f, const char *faults)
{
	assert_int_equal(cor_fault_apply(&f->lane, faults, COR_CONN_BULK, NULL), 0);
}

static void spoiled_pages_are_fetched_again(void **state)
{
	struct fixture *f = serve(state, fake_source("DDDDZZDDDDDDDDDDDDDDDDDD", NULL));
	struct seen s = { 0 };

	spoil(f, "bulk:corrupt@5000+110000");
	assert_int_equal(cor_fetch(f->lane, 0, 0, 24, true, note, &s, NULL), 0);
	assert_string_equal(s.pages, "DDDDZZDDDDDDDDDDDDDDDDDD");
}

static void lane_that_always_spoils_is_given_up(void **state)
{
	struct fixture *f = serve(state, fake_source("DDDD", NULL));
	struct cor_error err = COR_ERROR_INIT;
	struct seen s = { 0 };

	spoil(f, "bulk:corrupt@5000+4000");
	assert_int_equal(cor_fetch(f->lane, 0, 0, 4, true, note, &s, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "spoils"));
	assert_int_equal(s.n, 0);
}

static void unchecked_reply_is_refused_where_checks_were_asked_for(void **state)
{
	const struct cor_page_reply plain = { .status = COR_PAGE_ZERO, .npages = 1,
					      .flags = COR_PAGE_LAST };
	struct fixture *f = *state;
	struct seen s = { 0 };

	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(cor_write_full(f->peer, &plain, sizeof(plain)), 0);
	assert_int_equal(cor_fetch(f->lane, 0, 0, 1, true, note, &s, NULL), -EBADMSG);
	assert_int_equal(s.n, 0);
}

#define fetch_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		fetch_test(pages_come_in_order),
		fetch_test(many_requests_are_in_flight),
		fetch_test(nothing_is_fetched_without_a_word),
		fetch_test(missing_memory_and_errors_leave_the_lane_usable),
		fetch_test(sink_can_end_it_and_the_lane_stays_usable),
		fetch_test(lying_server_is_found_out),
		fetch_test(reply_beyond_the_last_page_is_found_out),
		fetch_test(lane_that_ends_is_an_error),
		fetch_test(spoiled_pages_are_fetched_again),
		fetch_test(lane_that_always_spoils_is_given_up),
		fetch_test(unchecked_reply_is_refused_where_checks_were_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
