/* The page server on a socket pair: every kind of reply, pipelining, and what
 * ends a lane. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/check.h"
#include "libcor/paging/server.h"
#include "tests/stream.h"
#include "tests/unit/fake_source.h"

#define P 4096u

struct fixture {
	struct cor_page_server *server;
	int demand, bulk;       /* our ends */
	int closed;
};

static int add_lane(struct fixture *f, enum cor_connection_kind kind)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(cor_page_server_add_lane(f->server, stream_of(sv[1]), kind, NULL), 0);
	return sv[0];
}

static struct fixture *serve(void **state, struct cor_source *source)
{
	struct fixture *f = *state;

	assert_int_equal(cor_page_server_new(&f->server, source, NULL), 0);
	f->demand = add_lane(f, COR_CONN_DEMAND);
	f->bulk = add_lane(f, COR_CONN_BULK);
	return f;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->demand = f->bulk = -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	cor_page_server_free(f->server);
	cor_closep(&f->demand);
	cor_closep(&f->bulk);
	free(f);
	return 0;
}

static void ask(int sock, uint8_t op, uint8_t flags, uint64_t page, uint32_t npages)
{
	struct cor_page_request q = { .op = op, .flags = flags, .offset = page * P, .npages = npages };

	assert_int_equal(cor_write_full(sock, &q, sizeof(q)), 0);
}

/* The next reply; its payload, if any, is left in buf. */
static struct cor_page_reply reply(int sock, void *buf)
{
	struct cor_page_reply h;

	assert_int_equal(cor_read_full(sock, &h, sizeof(h)), 0);
	if (h.status == COR_PAGE_DATA)
		assert_int_equal(cor_read_full(sock, buf, h.npages * P), 0);
	if (h.status == COR_PAGE_RUNS && h.npages)
		assert_int_equal(cor_read_full(sock, buf, h.npages * sizeof(struct cor_page_run)), 0);
	return h;
}

static void expect(int sock, int status, uint64_t page, uint32_t npages, bool last)
{
	static char buf[COR_PAGE_MAX_RUN * P];
	struct cor_page_reply h = reply(sock, buf);

	assert_int_equal(h.status, status);
	assert_true(h.offset == page * P);
	assert_int_equal(h.npages, npages);
	assert_int_equal(h.flags, last ? COR_PAGE_LAST : 0);
	for (uint32_t i = 0; status == COR_PAGE_DATA && i < npages; i++) {
		assert_int_equal((uint8_t)buf[i * P], (uint8_t)(page + i + 1));
		assert_int_equal((uint8_t)buf[i * P + P - 1], (uint8_t)(page + i + 1));
	}
}

static void expect_end(int sock)
{
	char c;

	assert_true(read(sock, &c, 1) <= 0);
}

static void one_page_on_demand(void **state)
{
	struct fixture *f = serve(state, fake_source("DZ", NULL));

	ask(f->demand, COR_PAGE_READ, 0, 0, 1);
	expect(f->demand, COR_PAGE_DATA, 0, 1, true);
	ask(f->demand, COR_PAGE_READ, 0, 1, 1);
	expect(f->demand, COR_PAGE_ZERO, 1, 1, true);
}

static void run_is_answered_in_stretches_of_like_pages(void **state)
{
	struct fixture *f = serve(state, fake_source("DDDDDZZGGGDEEZ", NULL));

	ask(f->bulk, COR_PAGE_READ, 0, 0, 14);
	expect(f->bulk, COR_PAGE_DATA, 0, 5, false);
	expect(f->bulk, COR_PAGE_ZERO, 5, 2, false);
	expect(f->bulk, COR_PAGE_GONE, 7, 3, false);
	expect(f->bulk, COR_PAGE_DATA, 10, 1, false);
	expect(f->bulk, COR_PAGE_ERROR, 11, 2, false);
	expect(f->bulk, COR_PAGE_ZERO, 13, 1, true);
}

static void error_tells_its_number(void **state)
{
	struct fixture *f = serve(state, fake_source("E", NULL));
	struct cor_page_reply h;

	ask(f->demand, COR_PAGE_READ, 0, 0, 1);
	h = reply(f->demand, NULL);
	assert_int_equal(h.status, COR_PAGE_ERROR);
	assert_int_equal(h.error, EIO);
}

static void ended_source_fails_the_whole_rest(void **state)
{
	struct fixture *f = serve(state, fake_source("DXXX", NULL));

	ask(f->bulk, COR_PAGE_READ, 0, 0, 4);
	expect(f->bulk, COR_PAGE_DATA, 0, 1, false);
	expect(f->bulk, COR_PAGE_ERROR, 1, 3, true);
}

static void longest_run_is_covered_without_a_hole(void **state)
{
	int fd = memfd_create("pages", MFD_CLOEXEC);
	struct cor_source *source;
	struct fixture *f;
	uint32_t done = 0;

	assert_int_equal(ftruncate(fd, COR_PAGE_MAX_RUN * P), 0);
	for (uint32_t i = 0; i < COR_PAGE_MAX_RUN; i += 2)
		assert_int_equal(pwrite(fd, "x", 1, i * P + P - 1), 1);
	assert_int_equal(cor_source_file(&source, fd, 0, COR_PAGE_MAX_RUN * P, NULL), 0);
	f = serve(state, source);
	ask(f->bulk, COR_PAGE_READ, 0, 0, COR_PAGE_MAX_RUN);
	while (done < COR_PAGE_MAX_RUN) {
		static char buf[COR_PAGE_MAX_RUN * P];
		struct cor_page_reply h = reply(f->bulk, buf);

		assert_true(h.offset == (uint64_t)done * P);
		assert_int_equal(h.npages, 1);
		assert_int_equal(h.status, done % 2 ? COR_PAGE_ZERO : COR_PAGE_DATA);
		if (done % 2 == 0)
			assert_int_equal(buf[P - 1], 'x');
		done += h.npages;
		assert_int_equal(!!(h.flags & COR_PAGE_LAST), done == COR_PAGE_MAX_RUN);
	}
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct fixture *f = serve(state, fake_source("DZDZDZDZ", NULL));
	struct cor_page_request q[200];

	for (unsigned i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = (struct cor_page_request){ .op = COR_PAGE_READ, .offset = i % 8 * P, .npages = 1 };
	assert_int_equal(cor_write_full(f->bulk, q, sizeof(q)), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(q); i++)
		expect(f->bulk, i % 2 ? COR_PAGE_ZERO : COR_PAGE_DATA, i % 8, 1, true);
}

static void request_may_come_in_pieces(void **state)
{
	struct fixture *f = serve(state, fake_source("D", NULL));
	struct cor_page_request q = { .op = COR_PAGE_READ, .npages = 1 };

	for (size_t i = 0; i < sizeof(q); i++)
		assert_int_equal(write(f->demand, (char *)&q + i, 1), 1);
	expect(f->demand, COR_PAGE_DATA, 0, 1, true);
}

static void presence_comes_in_several_replies(void **state)
{
	struct fixture *f = serve(state, fake_source("DDZDZZDGGD", NULL));
	struct cor_page_run runs[64], all[8];
	struct cor_page_reply h;
	unsigned n = 0, replies = 0;

	ask(f->bulk, COR_PAGE_PRESENCE, 0, 0, 5000000);
	do {
		h = reply(f->bulk, runs);
		assert_int_equal(h.status, COR_PAGE_RUNS);
		assert_true(n + h.npages <= ARRAY_SIZE(all));
		memcpy(all + n, runs, h.npages * sizeof(runs[0]));
		n += h.npages;
		replies++;
	} while (!(h.flags & COR_PAGE_LAST));
	assert_int_equal(n, 4);
	assert_true(replies > 1);
	assert_true(all[0].offset == 0 && all[0].npages == 2);
	assert_true(all[1].offset == 3 * P && all[1].npages == 1);
	assert_true(all[2].offset == 6 * P && all[2].npages == 1);
	assert_true(all[3].offset == 9 * P && all[3].npages == 1);
}

/* It is looked for piece by piece, so that nobody has to wait for all of it. */
static void presence_of_a_long_run_is_one_run(void **state)
{
	struct cor_page_run runs[64];
	struct cor_page_reply h;
	char pages[1400];
	struct fixture *f;

	memset(pages, 'D', sizeof(pages));
	pages[700] = 'Z';
	pages[sizeof(pages) - 1] = '\0';
	f = serve(state, fake_source(pages, NULL));
	ask(f->bulk, COR_PAGE_PRESENCE, 0, 0, 1399);
	h = reply(f->bulk, runs);
	assert_int_equal(h.npages, 2);
	assert_int_equal(h.flags, COR_PAGE_LAST);
	assert_true(runs[0].offset == 0 && runs[0].npages == 700);
	assert_true(runs[1].offset == 701 * P && runs[1].npages == 698);
}

static void presence_of_nothing_is_an_empty_list(void **state)
{
	struct fixture *f = serve(state, fake_source("Z", NULL));

	ask(f->bulk, COR_PAGE_PRESENCE, 0, 0, 1);
	expect(f->bulk, COR_PAGE_RUNS, 0, 0, true);
	ask(f->bulk, COR_PAGE_PRESENCE, 0, 3, 0);
	expect(f->bulk, COR_PAGE_RUNS, 3, 0, true);
}

static void presence_of_an_unknown_object_is_an_error(void **state)
{
	struct fixture *f = serve(state, fake_source("D", NULL));
	struct cor_page_request q = { .op = COR_PAGE_PRESENCE, .object = 5, .npages = 1 };
	struct cor_page_reply h;

	assert_int_equal(cor_write_full(f->bulk, &q, sizeof(q)), 0);
	h = reply(f->bulk, NULL);
	assert_int_equal(h.status, COR_PAGE_ERROR);
	assert_int_equal(h.error, ENOENT);
	assert_int_equal(h.object, 5);
	assert_int_equal(h.flags, COR_PAGE_LAST);
}

static void checksum_comes_when_asked_for(void **state)
{
	struct fixture *f = serve(state, fake_source("DDD", NULL));
	struct cor_page_reply h;
	char buf[3 * P];

	ask(f->bulk, COR_PAGE_READ, COR_PAGE_CHECKED, 0, 3);
	h = reply(f->bulk, buf);
	assert_int_equal(h.flags, COR_PAGE_CHECKED | COR_PAGE_LAST);
	assert_true(cor_page_intact(&h, buf, sizeof(buf)));
	buf[3 * P - 1] ^= 1;
	assert_false(cor_page_intact(&h, buf, sizeof(buf)));
	buf[3 * P - 1] ^= 1;
	h.error ^= 1;
	assert_false(cor_page_intact(&h, buf, sizeof(buf)));
}

static void reply_without_payload_is_checked_too(void **state)
{
	struct fixture *f = serve(state, fake_source("Z", NULL));
	struct cor_page_reply h;

	ask(f->bulk, COR_PAGE_READ, COR_PAGE_CHECKED, 0, 1);
	h = reply(f->bulk, NULL);
	assert_int_equal(h.status, COR_PAGE_ZERO);
	assert_true(cor_page_intact(&h, NULL, 0));
	ask(f->bulk, COR_PAGE_PRESENCE, COR_PAGE_CHECKED, 0, 1);
	h = reply(f->bulk, NULL);
	assert_int_equal(h.npages, 0);
	assert_true(cor_page_intact(&h, NULL, 0));
}

static void malformed_requests_end_the_lane(void **state)
{
	static const struct cor_page_request bad[] = {
		{ .op = 0, .npages = 1 },
		{ .op = 3, .npages = 1 },
		{ .op = COR_PAGE_READ, .npages = 0 },
		{ .op = COR_PAGE_READ, .npages = COR_PAGE_MAX_RUN + 1 },
		{ .op = COR_PAGE_READ, .npages = UINT32_MAX },
		{ .op = COR_PAGE_READ, .npages = 1, .offset = 1 },
		{ .op = COR_PAGE_READ, .npages = 1, .flags = 0x80 },
		{ .op = COR_PAGE_READ, .npages = 1, .flags = COR_PAGE_LAST },
		{ .op = COR_PAGE_READ, .npages = 2, .offset = UINT64_MAX - P + 1 },
		{ .op = COR_PAGE_PRESENCE, .npages = UINT32_MAX, .offset = UINT64_MAX - P + 1 },
	};
	struct fixture *f = serve(state, fake_source("D", NULL));

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_close_ int sock = add_lane(f, i % 2 ? COR_CONN_DEMAND : COR_CONN_BULK);

		assert_int_equal(cor_write_full(sock, &bad[i], sizeof(bad[i])), 0);
		expect_end(sock);
	}
	/* the others go on */
	ask(f->demand, COR_PAGE_READ, 0, 0, 1);
	expect(f->demand, COR_PAGE_DATA, 0, 1, true);
}

static void lost_lane_is_told_and_replaced(void **state)
{
	struct fixture *f = serve(state, fake_source("D", NULL));
	struct pollfd p = { .fd = cor_page_server_event_fd(f->server), .events = POLLIN };
	struct cor_page_server_stats stats;

	cor_page_server_stats(f->server, &stats);
	assert_int_equal(stats.lanes, 2);
	close(f->bulk);
	f->bulk = -1;
	assert_int_equal(poll(&p, 1, 5000), 1);
	cor_page_server_stats(f->server, &stats);
	assert_int_equal(stats.lanes, 1);
	f->bulk = add_lane(f, COR_CONN_BULK);
	ask(f->bulk, COR_PAGE_READ, 0, 0, 1);
	expect(f->bulk, COR_PAGE_DATA, 0, 1, true);
}

static void control_connection_is_no_lane(void **state)
{
	struct fixture *f = serve(state, fake_source("D", NULL));
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(cor_page_server_add_lane(f->server, stream_of(sv[1]), COR_CONN_CONTROL, NULL), -EINVAL);
	expect_end(sv[0]);
	close(sv[0]);
}

static void everything_is_counted(void **state)
{
	struct fixture *f = serve(state, fake_source("DDZ", NULL));
	struct cor_page_server_stats stats;

	ask(f->demand, COR_PAGE_READ, 0, 0, 1);
	expect(f->demand, COR_PAGE_DATA, 0, 1, true);
	ask(f->bulk, COR_PAGE_READ, 0, 0, 3);
	expect(f->bulk, COR_PAGE_DATA, 0, 2, false);
	expect(f->bulk, COR_PAGE_ZERO, 2, 1, true);
	/* the last bytes are counted behind their sending: end the lanes first */
	shutdown(f->demand, SHUT_RDWR);
	shutdown(f->bulk, SHUT_RDWR);
	do
		cor_page_server_stats(f->server, &stats);
	while (stats.lanes);
	assert_int_equal(stats.requests_demand, 1);
	assert_int_equal(stats.requests_bulk, 1);
	assert_int_equal(stats.pages_sent, 3);
	assert_int_equal(stats.pages_zero, 1);
	assert_int_equal(stats.bytes_sent, 3 * P + 3 * sizeof(struct cor_page_reply));
}

static void server_ends_lanes_and_source(void **state)
{
	struct fixture *f = *state;

	serve(state, fake_source("D", &f->closed));
	cor_page_server_free(f->server);
	f->server = NULL;
	assert_int_equal(f->closed, 1);
	expect_end(f->demand);
	expect_end(f->bulk);
}

static void server_ends_while_a_client_reads_nothing(void **state)
{
	struct fixture *f = *state;

	serve(state, fake_source("DDDDDDDDDDDDDDDD", &f->closed));
	for (unsigned i = 0; i < 60; i++)        /* more than the socket holds */
		ask(f->bulk, COR_PAGE_READ, 0, 0, 16);
	cor_page_server_free(f->server);
	f->server = NULL;
	assert_int_equal(f->closed, 1);
}

#define server_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		server_test(one_page_on_demand),
		server_test(run_is_answered_in_stretches_of_like_pages),
		server_test(error_tells_its_number),
		server_test(ended_source_fails_the_whole_rest),
		server_test(longest_run_is_covered_without_a_hole),
		server_test(pipelined_requests_are_answered_in_order),
		server_test(request_may_come_in_pieces),
		server_test(presence_comes_in_several_replies),
		server_test(presence_of_a_long_run_is_one_run),
		server_test(presence_of_nothing_is_an_empty_list),
		server_test(presence_of_an_unknown_object_is_an_error),
		server_test(checksum_comes_when_asked_for),
		server_test(reply_without_payload_is_checked_too),
		server_test(malformed_requests_end_the_lane),
		server_test(lost_lane_is_told_and_replaced),
		server_test(control_connection_is_no_lane),
		server_test(everything_is_counted),
		server_test(server_ends_lanes_and_source),
		server_test(server_ends_while_a_client_reads_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
