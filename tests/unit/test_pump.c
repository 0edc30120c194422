/* The pump's channels: two sides that exchange frames in memory, with pipes at their
 * ends. What is outside writes and reads at one, the task at the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/channel.h"

/* ---- queues ------------------------------------------------------------------------- */

static void test_queue_counts_bytes_and_events(void **state)
{
	struct cor_pump_queue q;
	const struct cor_pump_item *i;

	cor_pump_queue_init(&q, 100);
	assert_int_equal(cor_pump_queue_bytes(&q, "abc", 3), 0);
	assert_int_equal(cor_pump_queue_bytes(&q, "de", 2), 0);
	assert_int_equal(cor_pump_queue_event(&q, COR_PUMP_MESSAGE, "payload", 7), 0);
	assert_int_equal(cor_pump_queue_bytes(&q, "f", 1), 0);
	assert_int_equal(q.end, 107);
	i = cor_pump_queue_at(&q, 104);
	assert_int_equal(i->event, COR_PUMP_BYTES);
	assert_memory_equal(i->data + (104 - i->at), "e", 1);
	i = cor_pump_queue_at(&q, 105);
	assert_int_equal(i->event, COR_PUMP_MESSAGE);
	assert_memory_equal(i->data, "payload", 7);
	assert_null(cor_pump_queue_at(&q, 107));
	cor_pump_queue_clear(&q);
	assert_int_equal(q.start, 107);
}

static void test_queue_drops_parts_of_items(void **state)
{
	struct cor_pump_queue q;
	const struct cor_pump_item *i;

	cor_pump_queue_init(&q, 0);
	cor_pump_queue_bytes(&q, "abcdef", 6);
	cor_pump_queue_drop(&q, 2);
	assert_null(cor_pump_queue_at(&q, 1));
	i = cor_pump_queue_at(&q, 2);
	assert_memory_equal(i->data + (2 - i->at), "cdef", 4);
	cor_pump_queue_drop(&q, 6);
	assert_null(q.items);
	cor_pump_queue_bytes(&q, "g", 1);
	assert_int_equal(cor_pump_queue_at(&q, 6)->at, 6);
	cor_pump_queue_clear(&q);
}

static void test_queue_takes_more_than_an_item_holds(void **state)
{
	static uint8_t big[200000];
	struct cor_pump_queue q;
	uint64_t at = 0;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	cor_pump_queue_init(&q, 0);
	assert_int_equal(cor_pump_queue_bytes(&q, big, sizeof(big)), 0);
	while (at < sizeof(big)) {
		const struct cor_pump_item *i = cor_pump_queue_at(&q, at);

		assert_memory_equal(i->data, big + at, i->len);
		at = cor_pump_item_end(i);
	}
	cor_pump_queue_clear(&q);
}

/* ---- headers ---------------------------------------------------------------------------- */

static int parse(uint8_t type, uint8_t arg, uint16_t channel, uint32_t length)
{
	struct cor_pump_frame f = { type, arg, channel, length, 1 }, out;

	return cor_pump_frame_parse(&f, &out);
}

static void test_frames_are_checked(void **state)
{
	assert_int_equal(parse(COR_PUMP_DATA, 0, 1, 1), 0);
	assert_int_equal(parse(COR_PUMP_DATA, 0, 1, 0), -EPROTO);
	assert_int_equal(parse(COR_PUMP_DATA, 0, 1, COR_PUMP_DATA_MAX + 1), -EPROTO);
	assert_int_equal(parse(COR_PUMP_DATA, 1, 1, 1), -EPROTO);
	assert_int_equal(parse(COR_PUMP_ACK, COR_PUMP_ACK_GONE, 1, 8), 0);
	assert_int_equal(parse(COR_PUMP_ACK, 2, 1, 8), -EPROTO);
	assert_int_equal(parse(COR_PUMP_EVENT, COR_PUMP_EVENTS, 1, 0), -EPROTO);
	assert_int_equal(parse(COR_PUMP_EVENT, COR_PUMP_BYTES, 1, 0), -EPROTO);
	assert_int_equal(parse(COR_PUMP_HELLO, COR_PUMP_AWAY, 0, 8), 0);
	assert_int_equal(parse(COR_PUMP_HELLO, COR_PUMP_AWAY, 1, 8), -EPROTO);
	assert_int_equal(parse(0, 0, 0, 0), -EPROTO);
	assert_int_equal(parse(200, 0, 0, 0), -EPROTO);
}

/* ---- two sides ---------------------------------------------------------------------------- */

struct pair {
	struct cor_pump_channel home, away;
	int outside, task;      /* the other side of what each has */
	bool cut;               /* no connection */
};

static Cor__Names__PumpChannel about(bool task_reads)
{
	Cor__Names__PumpChannel ch = COR__NAMES__PUMP_CHANNEL__INIT;

	ch.id = 1;
	ch.kind = COR__NAMES__PUMP_KIND__PUMP_PIPE;
	ch.task_reads = task_reads;
	ch.task_writes = !task_reads;
	ch.capacity = 65536;
	ch.mode = 0600;
	ch.uid = geteuid();
	ch.gid = getegid();
	return ch;
}

static void connect_pair(struct pair *p)
{
	p->cut = false;
	cor_pump_channel_attach(&p->home);
	cor_pump_channel_attach(&p->away);
}

static void begin_away(struct pair *p, const Cor__Names__PumpChannel *ch)
{
	const struct cor_pump_end_ops *ops = cor_pump_end_ops_of(ch->kind, true);

	p->away = (struct cor_pump_channel){ .id = 1, .end = COR_PUMP_END_INIT };
	assert_int_equal(ops->make(&p->away.end, ch, &p->task, NULL), 0);
	p->away.end.ops = ops;
	assert_int_equal(cor_pump_channel_begin(&p->away), 0);
	fcntl(p->task, F_SETFL, O_NONBLOCK);
}

static void begin_pair_of(struct pair *p, const Cor__Names__PumpChannel *ch)
{
	const struct cor_pump_end_ops *ops = cor_pump_end_ops_of(ch->kind, false);
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC | (ch->packets ? O_DIRECT : 0)), 0);
	*p = (struct pair){ .home = { .id = 1, .end = COR_PUMP_END_INIT } };
	p->outside = ends[ch->task_reads ? 1 : 0];
	p->home.end.kept = ends[ch->task_reads ? 0 : 1];
	assert_int_equal(ops->take(&p->home.end, ch, p->home.end.kept, NULL), 0);
	p->home.end.ops = ops;
	assert_int_equal(cor_pump_channel_begin(&p->home), 0);
	begin_away(p, ch);
	connect_pair(p);
}

static void begin_pair(struct pair *p, bool task_reads)
{
	Cor__Names__PumpChannel ch = about(task_reads);

	begin_pair_of(p, &ch);
}

static void end_pair(struct pair *p)
{
	cor_pump_channel_clear(&p->home);
	cor_pump_channel_clear(&p->away);
	cor_closep(&p->outside);
	cor_closep(&p->task);
}

/* What the process around a channel does with its end. */
static bool look_after(struct cor_pump_channel *c)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT };
	bool changed;
	int set;

	if (!c->end.reads && !c->end.writes)
		cor_pump_end_close(&c->end);
	set = epoll_create1(EPOLL_CLOEXEC);
	if (c->end.fd >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, c->end.fd, &e) == 0 &&
	    epoll_wait(set, &e, 1, 0) == 1)
		cor_pump_channel_events(c, e.events);
	close(set);
	changed = cor_pump_channel_read(c, false);
	return cor_pump_channel_write(c) || changed;
}

/* One frame from a to b, which is lost where there is no connection. */
static bool carry(struct cor_pump_channel *a, struct cor_pump_channel *b, bool cut)
{
	static uint8_t buf[COR_PUMP_FRAME_MAX];
	struct cor_pump_frame f;
	size_t n = cor_pump_channel_give(a, buf);

	if (!n)
		return false;
	assert_int_equal(cor_pump_frame_parse(buf, &f), 0);
	assert_int_equal(n, sizeof(f) + f.length);
	if (!cut)
		assert_int_equal(cor_pump_channel_take(b, &f, buf + sizeof(f)), 0);
	return true;
}

static bool turn(struct pair *p)
{
	bool busy = look_after(&p->home) | look_after(&p->away);

	busy |= carry(&p->home, &p->away, p->cut);
	busy |= carry(&p->away, &p->home, p->cut);
	return busy;
}

/* Until nothing moves. */
static void settle(struct pair *p)
{
	while (turn(p))
		;
}

static void assert_reads(int fd, const char *text)
{
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void test_bytes_reach_the_task(void **state)
{
	struct pair p;

	begin_pair(&p, true);
	assert_int_equal(write(p.outside, "hello", 5), 5);
	settle(&p);
	assert_reads(p.task, "hello");
	end_pair(&p);
}

static void test_bytes_of_the_task_reach_the_outside(void **state)
{
	struct pair p;

	begin_pair(&p, false);
	assert_int_equal(write(p.task, "hello", 5), 5);
	settle(&p);
	assert_reads(p.outside, "hello");
	end_pair(&p);
}

static void test_end_of_file_comes_behind_the_last_byte(void **state)
{
	struct pair p;

	begin_pair(&p, true);
	assert_int_equal(write(p.outside, "last", 4), 4);
	cor_closep(&p.outside);
	p.outside = -1;
	settle(&p);
	assert_reads(p.task, "last");
	assert_int_equal(read(p.task, &p, 1), 0);
	assert_true(cor_pump_channel_is_over(&p.home));
	assert_true(cor_pump_channel_is_over(&p.away));
	p.task = -1;
	end_pair(&p);
}

static void test_nobody_reading_reaches_the_writer(void **state)
{
	struct pair p;

	begin_pair(&p, false);
	close(p.outside);
	p.outside = -1;
	settle(&p);
	assert_int_equal(write(p.task, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_true(cor_pump_channel_is_over(&p.home));
	end_pair(&p);
}

static void test_a_task_that_reads_no_more_stops_the_outside(void **state)
{
	static char much[65536];
	struct pair p;

	begin_pair(&p, true);
	assert_true(write(p.outside, much, sizeof(much)) > 0);
	settle(&p);
	close(p.task);
	p.task = -1;
	settle(&p);
	assert_int_equal(write(p.outside, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_true(cor_pump_channel_is_over(&p.away));
	end_pair(&p);
}

static void test_a_slow_reader_holds_the_writer_up(void **state)
{
	static char much[65536];
	size_t written = 0, got = 0;
	struct pair p;
	ssize_t n;

	begin_pair(&p, true);
	do {
		n = write(p.outside, much, sizeof(much));
		written += n > 0 ? (size_t)n : 0;
		settle(&p);
	} while (n > 0);
	/* two pipes, and what each side may hold */
	assert_in_range(written, 3 * 65536, 2 * 65536 + 2 * COR_PUMP_WINDOW + 65536);
	while ((n = read(p.task, much, sizeof(much))) > 0) {
		got += (size_t)n;
		settle(&p);
	}
	assert_int_equal(got, written);
	end_pair(&p);
}

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

/* The task gets exactly the numbered bytes, with disturb() between the turns. */
static void stream(struct pair *p, void (*disturb)(struct pair *p, uint64_t random))
{
	uint64_t seed = 1, given = 0, got = 0, total = 3 << 20;
	static uint8_t buf[20000];

	while (got < total) {
		size_t len = next(&seed) % sizeof(buf);
		ssize_t n;

		len = COR_MIN(len, (size_t)(total - given));
		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)((given + i) * 2654435761u >> 13);
		n = len ? write(p->outside, buf, len) : 0;
		given += n > 0 ? (uint64_t)n : 0;
		for (unsigned i = 0; i < 4; i++)
			turn(p);
		disturb(p, next(&seed));
		n = read(p->task, buf, 1 + next(&seed) % sizeof(buf));
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], (uint8_t)((got + (uint64_t)i) * 2654435761u >> 13));
		got += n > 0 ? (uint64_t)n : 0;
	}
	assert_int_equal(given, total);
}

static void lose_connections(struct pair *p, uint64_t random)
{
	if (p->cut)
		connect_pair(p);
	else
		p->cut = random % 4 == 0;
}

static void test_lost_connections_lose_nothing(void **state)
{
	struct pair p;

	begin_pair(&p, true);
	stream(&p, lose_connections);
	end_pair(&p);
}

/* What of the task's own end is unread, as a capture has it. */
static void peek(struct pair *p, Cor__Names__Message *m)
{
	static uint8_t buf[65536];
	ssize_t n = read(p->task, buf, sizeof(buf));

	m->data = (ProtobufCBinaryData){ n > 0 ? (size_t)n : 0, buf };
}

/* Another host's away side takes the old one's place. */
static void move_on(struct pair *p, uint64_t random)
{
	Cor__Names__Message unread = COR__NAMES__MESSAGE__INIT, *list = &unread;
	Cor__Names__PumpState *s = NULL;
	Cor__Names__PumpChannel ch = about(true);

	if (random % 16)
		return;
	assert_int_equal(cor_pump_channel_save(&p->away, &s), 0);
	peek(p, &unread);
	if (unread.data.len)
		assert_int_equal(cor_pump_state_prepend(s, &list, 1, COR_PUMP_BYTES), 0);
	cor_pump_channel_clear(&p->away);
	close(p->task);
	begin_away(p, &ch);
	assert_int_equal(cor_pump_channel_load(&p->away, s), 0);
	cor__names__pump_state__free_unpacked(s, NULL);
	connect_pair(p);
}

static void test_moving_on_loses_nothing(void **state)
{
	struct pair p;

	begin_pair(&p, true);
	stream(&p, move_on);
	end_pair(&p);
}

static void test_moving_on_behind_the_end_keeps_the_end(void **state)
{
	struct pair p;

	begin_pair(&p, true);
	assert_int_equal(write(p.outside, "last", 4), 4);
	close(p.outside);
	p.outside = -1;
	settle(&p);
	move_on(&p, 0);
	settle(&p);
	assert_reads(p.task, "last");
	assert_int_equal(read(p.task, &p, 1), 0);
	end_pair(&p);
}

static void test_states_that_make_no_sense_are_refused(void **state)
{
	Cor__Names__PumpState s = COR__NAMES__PUMP_STATE__INIT;
	Cor__Names__PumpItem end = COR__NAMES__PUMP_ITEM__INIT, more = COR__NAMES__PUMP_ITEM__INIT;
	Cor__Names__PumpItem *items[] = { &end, &more };
	struct pair p;

	begin_pair(&p, true);
	end.event = COR_PUMP_END;
	s.in = items;
	s.n_in = 1;
	assert_int_equal(cor_pump_channel_load(&p.away, &s), -EPROTO);  /* peer_over is not said */
	s.peer_over = true;
	s.n_in = 2;
	assert_int_equal(cor_pump_channel_load(&p.away, &s), -EPROTO);  /* more behind the END */
	s.n_in = 1;
	s.writing_over = true;
	assert_int_equal(cor_pump_channel_load(&p.away, &s), -EPROTO);  /* over, yet not delivered */
	s.writing_over = false;
	s.n_in = 0;
	s.gone = true;
	assert_int_equal(cor_pump_channel_load(&p.away, &s), -EPROTO);  /* gone, but not over */
	end_pair(&p);
}

static void test_packets_stay_apart(void **state)
{
	Cor__Names__PumpChannel ch = about(true);
	struct pair p;

	ch.packets = true;
	begin_pair_of(&p, &ch);
	assert_int_equal(write(p.outside, "one", 3), 3);
	assert_int_equal(write(p.outside, "two", 3), 3);
	settle(&p);
	assert_reads(p.task, "one");
	assert_reads(p.task, "two");
	end_pair(&p);
}

static void test_packets_of_the_task_stay_apart(void **state)
{
	Cor__Names__PumpChannel ch = about(false);
	struct pair p;

	ch.packets = true;
	begin_pair_of(&p, &ch);
	/* a flag of the task's own open file description, which comes with its descriptor */
	fcntl(p.task, F_SETFL, O_NONBLOCK | O_DIRECT);
	assert_int_equal(write(p.task, "one", 3), 3);
	assert_int_equal(write(p.task, "two", 3), 3);
	settle(&p);
	assert_reads(p.outside, "one");
	assert_reads(p.outside, "two");
	end_pair(&p);
}

/* A FIFO's writers come and go, its reader stays. */
static void test_a_fifo_ends_for_now_only(void **state)
{
	Cor__Names__PumpChannel ch = about(true);
	char path[40], buf[8];
	struct pair p;
	int again;

	ch.fifo = true;
	begin_pair_of(&p, &ch);
	assert_int_equal(write(p.outside, "one", 3), 3);
	settle(&p);
	/* to open it again we need no writer, only a way to it */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p.home.end.kept);
	close(p.outside);
	p.outside = -1;
	settle(&p);
	assert_reads(p.task, "one");
	assert_int_equal(read(p.task, buf, sizeof(buf)), 0);
	again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(again >= 0);
	assert_int_equal(write(again, "two", 3), 3);
	settle(&p);
	assert_reads(p.task, "two");
	assert_int_equal(read(p.task, buf, sizeof(buf)), -1);
	assert_int_equal(errno, EAGAIN);
	close(again);
	end_pair(&p);
}

static void test_a_fifo_without_writers_that_nobody_reads_is_over(void **state)
{
	Cor__Names__PumpChannel ch = about(true);
	struct pair p;

	ch.fifo = true;
	begin_pair_of(&p, &ch);
	close(p.outside);
	p.outside = -1;
	settle(&p);
	cor_pump_channel_orphan(&p.away);
	settle(&p);
	assert_false(cor_pump_channel_is_over(&p.home));
	close(p.task);
	p.task = -1;
	cor_pump_channel_orphan(&p.away);
	settle(&p);
	assert_true(cor_pump_channel_is_over(&p.home));
	assert_true(cor_pump_channel_is_over(&p.away));
	end_pair(&p);
}

/* ---- sockets ------------------------------------------------------------------------------- */

static void begin_sockets(struct pair *p, Cor__Names__PumpKind kind, bool datagrams)
{
	Cor__Names__PumpChannel ch = about(true);
	const struct cor_pump_end_ops *ops = cor_pump_end_ops_of(kind, false);
	int type = kind == COR__NAMES__PUMP_KIND__PUMP_STREAM ? SOCK_STREAM :
		   datagrams ? SOCK_DGRAM : SOCK_SEQPACKET, ends[2];

	ch.kind = kind;
	ch.task_writes = true;
	ch.datagrams = datagrams;
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	*p = (struct pair){ .home = { .id = 1, .end = COR_PUMP_END_INIT } };
	p->outside = ends[0];
	p->home.end.kept = ends[1];
	assert_int_equal(ops->take(&p->home.end, &ch, ends[1], NULL), 0);
	p->home.end.ops = ops;
	assert_int_equal(cor_pump_channel_begin(&p->home), 0);
	begin_away(p, &ch);
	connect_pair(p);
}

static void test_a_half_close_leaves_the_other_way_open(void **state)
{
	struct pair p;
	char c;

	begin_sockets(&p, COR__NAMES__PUMP_KIND__PUMP_STREAM, false);
	assert_int_equal(write(p.task, "question", 8), 8);
	assert_int_equal(shutdown(p.task, SHUT_WR), 0);
	settle(&p);
	assert_reads(p.outside, "question");
	assert_int_equal(read(p.outside, &c, 1), 0);
	assert_int_equal(write(p.outside, "answer", 6), 6);
	settle(&p);
	assert_reads(p.task, "answer");
	close(p.outside);
	p.outside = -1;
	settle(&p);
	assert_int_equal(read(p.task, &c, 1), 0);
	assert_true(cor_pump_channel_is_over(&p.home) && cor_pump_channel_is_over(&p.away));
	end_pair(&p);
}

static void test_a_closed_socket_is_closed_on_the_other_side(void **state)
{
	struct pair p;
	char c;

	begin_sockets(&p, COR__NAMES__PUMP_KIND__PUMP_STREAM, false);
	close(p.task);
	p.task = -1;
	settle(&p);
	assert_int_equal(read(p.outside, &c, 1), 0);
	assert_int_equal(send(p.outside, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_true(cor_pump_channel_is_over(&p.home));
	end_pair(&p);
}

static void test_packets_before_the_end_all_come(void **state)
{
	struct pair p;
	char c;

	begin_sockets(&p, COR__NAMES__PUMP_KIND__PUMP_PACKETS, false);
	assert_int_equal(send(p.outside, "one", 3, 0), 3);
	assert_int_equal(send(p.outside, "", 0, 0), 0);
	assert_int_equal(send(p.outside, "three", 5, 0), 5);
	assert_int_equal(send(p.outside, "", 0, 0), 0);
	close(p.outside);
	p.outside = -1;
	settle(&p);
	assert_reads(p.task, "one");
	assert_int_equal(recv(p.task, &c, 1, MSG_DONTWAIT), 0);
	assert_reads(p.task, "three");
	assert_int_equal(recv(p.task, &c, 1, MSG_DONTWAIT), 0);
	assert_int_equal(send(p.task, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_true(cor_pump_channel_is_over(&p.home));
	end_pair(&p);
}

static void test_messages_stay_whole(void **state)
{
	static uint8_t big[150000], got[sizeof(big)];
	struct pair p;

	for (unsigned datagrams = 0; datagrams < 2; datagrams++) {
		begin_sockets(&p, COR__NAMES__PUMP_KIND__PUMP_PACKETS, datagrams);
		memset(big, 'b', sizeof(big));
		assert_int_equal(send(p.outside, "one", 3, 0), 3);
		assert_int_equal(send(p.outside, "", 0, 0), 0);
		assert_int_equal(send(p.outside, big, sizeof(big), 0), sizeof(big));
		settle(&p);
		assert_reads(p.task, "one");
		assert_int_equal(recv(p.task, got, sizeof(got), 0), 0);
		assert_int_equal(recv(p.task, got, sizeof(got), 0), sizeof(big));
		assert_memory_equal(got, big, sizeof(big));
		assert_int_equal(send(p.task, "back", 4, 0), 4);
		settle(&p);
		assert_reads(p.outside, "back");
		end_pair(&p);
	}
}

static void test_passed_descriptors_end_the_connection(void **state)
{
	struct pair p;
	char c;
	int fd = 0;

	begin_sockets(&p, COR__NAMES__PUMP_KIND__PUMP_STREAM, false);
	assert_int_equal(write(p.outside, "before", 6), 6);
	settle(&p);
	assert_int_equal(cor_send_fds(p.outside, "x", 1, &fd, 1), 0);
	settle(&p);
	assert_reads(p.task, "before");
	assert_int_equal(read(p.task, &c, 1), 0);
	assert_int_equal(send(p.outside, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	end_pair(&p);
}

/* ---- what goes along with the task -------------------------------------------------------- */

/* text, which waits at home and ends with event, is given to the task before there is a
 * connection. */
static void go_ahead(struct pair *p, const char *text, enum cor_pump_event event)
{
	Cor__Names__Message m = COR__NAMES__MESSAGE__INIT, *list = &m;
	Cor__Names__PumpState s = COR__NAMES__PUMP_STATE__INIT;

	m.data = (ProtobufCBinaryData){ strlen(text), (uint8_t *)text };
	s.in_at = COR_PUMP_AHEAD_END;
	assert_int_equal(cor_pump_state_prepend(&s, &list, 1, event), 0);
	assert_int_equal(cor_pump_channel_ahead(&p->home, &s), 0);
	assert_int_equal(cor_pump_channel_load(&p->away, &s), 0);
	cor_pump_channel_write(&p->away);
	for (size_t i = 0; i < s.n_in; i++)
		cor__names__pump_item__free_unpacked(s.in[i], NULL);
	free(s.in);
	assert_reads(p->task, text);
	connect_pair(p);
}

static void test_what_goes_ahead_does_not_come_again(void **state)
{
	struct pair p;

	begin_pair(&p, true);
	assert_int_equal(write(p.outside, "hello", 5), 5);
	go_ahead(&p, "hel", COR_PUMP_BYTES);
	settle(&p);
	assert_reads(p.task, "lo");
	end_pair(&p);
}

static void test_a_message_that_goes_ahead_does_not_come_again(void **state)
{
	struct pair p;

	begin_sockets(&p, COR__NAMES__PUMP_KIND__PUMP_PACKETS, true);
	assert_int_equal(send(p.outside, "first", 5, 0), 5);
	assert_int_equal(send(p.outside, "second", 6, 0), 6);
	go_ahead(&p, "first", COR_PUMP_MESSAGE);
	settle(&p);
	assert_reads(p.task, "second");
	end_pair(&p);
}

/* A connection that was reset has lost what was not read. */
static void test_an_end_in_place_of_what_went_ahead_is_the_end(void **state)
{
	struct pair p;
	char c;

	begin_pair(&p, true);
	assert_int_equal(write(p.outside, "hel", 3), 3);
	close(p.outside);
	p.outside = -1;
	go_ahead(&p, "hello", COR_PUMP_BYTES);
	settle(&p);
	assert_int_equal(read(p.task, &c, 1), 0);
	end_pair(&p);
}

static void test_what_goes_ahead_is_where_home_counts_from(void **state)
{
	Cor__Names__PumpState s = COR__NAMES__PUMP_STATE__INIT;
	Cor__Names__PumpItem item = COR__NAMES__PUMP_ITEM__INIT, *items[] = { &item };
	struct pair p;

	begin_pair(&p, true);
	item.data = (ProtobufCBinaryData){ 3, (uint8_t *)"hel" };
	s.in = items;
	s.n_in = 1;
	s.in_at = COR_PUMP_AHEAD_END - 2;
	assert_int_equal(cor_pump_channel_ahead(&p.home, &s), -EPROTO);
	assert_int_equal(p.home.end.ahead, 0);
	end_pair(&p);
}

/* ---- what a peer must not send ------------------------------------------------------------- */

static int take(struct cor_pump_channel *c, uint8_t type, uint8_t arg, uint64_t at,
		const void *payload, uint32_t length)
{
	struct cor_pump_frame f = { type, arg, c->id, length, at };

	return cor_pump_channel_take(c, &f, payload);
}

static void test_impossible_frames_are_refused(void **state)
{
	uint64_t limit = 1000;
	struct pair p;

	begin_pair(&p, true);
	/* before our first word */
	assert_int_equal(take(&p.away, COR_PUMP_DATA, 0, 0, "x", 1), -EPROTO);
	settle(&p);
	/* a hole; more than we said that we take; confirming what was not sent */
	assert_int_equal(take(&p.away, COR_PUMP_DATA, 0, 5, "x", 1), -EPROTO);
	assert_int_equal(take(&p.away, COR_PUMP_DATA, 0, p.away.told_limit, "x", 1), -EPROTO);
	assert_int_equal(take(&p.away, COR_PUMP_ACK, 0, p.away.sent + 1, &limit, 8), -EPROTO);
	/* known already: nothing happens; half known: the rest counts */
	assert_int_equal(take(&p.away, COR_PUMP_DATA, 0, 0, "abc", 3), 0);
	assert_int_equal(take(&p.away, COR_PUMP_DATA, 0, 0, "abc", 3), 0);
	assert_int_equal(take(&p.away, COR_PUMP_DATA, 0, 1, "bcde", 4), 0);
	assert_int_equal(p.away.in.end, 5);
	look_after(&p.away);
	assert_reads(p.task, "abcde");
	/* behind the end */
	assert_int_equal(take(&p.away, COR_PUMP_EVENT, COR_PUMP_END, 5, NULL, 0), 0);
	assert_int_equal(take(&p.away, COR_PUMP_DATA, 0, 6, "x", 1), -EPROTO);
	end_pair(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_counts_bytes_and_events),
		cmocka_unit_test(test_queue_drops_parts_of_items),
		cmocka_unit_test(test_queue_takes_more_than_an_item_holds),
		cmocka_unit_test(test_frames_are_checked),
		cmocka_unit_test(test_bytes_reach_the_task),
		cmocka_unit_test(test_bytes_of_the_task_reach_the_outside),
		cmocka_unit_test(test_end_of_file_comes_behind_the_last_byte),
		cmocka_unit_test(test_nobody_reading_reaches_the_writer),
		cmocka_unit_test(test_a_task_that_reads_no_more_stops_the_outside),
		cmocka_unit_test(test_a_slow_reader_holds_the_writer_up),
		cmocka_unit_test(test_lost_connections_lose_nothing),
		cmocka_unit_test(test_moving_on_loses_nothing),
		cmocka_unit_test(test_moving_on_behind_the_end_keeps_the_end),
		cmocka_unit_test(test_states_that_make_no_sense_are_refused),
		cmocka_unit_test(test_packets_stay_apart),
		cmocka_unit_test(test_packets_of_the_task_stay_apart),
		cmocka_unit_test(test_a_fifo_ends_for_now_only),
		cmocka_unit_test(test_a_fifo_without_writers_that_nobody_reads_is_over),
		cmocka_unit_test(test_a_half_close_leaves_the_other_way_open),
		cmocka_unit_test(test_a_closed_socket_is_closed_on_the_other_side),
		cmocka_unit_test(test_packets_before_the_end_all_come),
		cmocka_unit_test(test_messages_stay_whole),
		cmocka_unit_test(test_passed_descriptors_end_the_connection),
		cmocka_unit_test(test_what_goes_ahead_does_not_come_again),
		cmocka_unit_test(test_a_message_that_goes_ahead_does_not_come_again),
		cmocka_unit_test(test_an_end_in_place_of_what_went_ahead_is_the_end),
		cmocka_unit_test(test_what_goes_ahead_is_where_home_counts_from),
		cmocka_unit_test(test_impossible_frames_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
