/* Pagers that are killed, and others that go on. Three processes: a victim whose memory is
 * lazy, a pager, and this one, which shares its descriptors with the pager as a session's
 * keeper does. */
#include "tests/unit/pager_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/journal.h"
#include "libcor/task/spawn.h"
#include "tests/stream.h"

#define FDS 256

/* What a victim is told to do, with a number; it answers with one byte. */
enum { CHECK = 'c', ZERO = 'z', DROP = 'd', DROP_OFTEN = 'D', FORK = 'f', MOVE = 'm', PUNCH = 'p' };

struct order { char what; uint64_t i; };

struct retake {
	unsigned char *truth, *mem, *moved;
	struct toy toy;
	pid_t victim, pager;
	int order;              /* to the victim; its child's is order + 1's, see FORK */
	int child;              /* to its child, -1: none */
	int uffd;
	bool shared;
	struct cor_journal *journal;
	bool before[FDS];       /* descriptors that are not the pager's */
	struct shared_words {   /* with the pager, in shared memory */
		_Atomic int state;      /* as it tells */
		_Atomic bool lanes;     /* they are there */
		int lane[2];
	} *words;
};

static void *map(size_t len, int flags)
{
	void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	assert_true(m != MAP_FAILED);
	return m;
}

/* ---- the victim ------------------------------------------------------------------------ */

static void serve(struct retake *t, int sock);

static char carry_out(struct retake *t, int sock, const struct order *o)
{
	unsigned char *page = t->mem + o->i * P;
	int pair[2];

	switch (o->what) {
	case CHECK:
		return !memcmp(page, t->truth + o->i * P, P);
	case ZERO:
		return (char)page_is_zero(t->mem, o->i);
	case DROP:
		return madvise(page, P, MADV_DONTNEED) == 0;
	case DROP_OFTEN:
		for (int n = 0; n < 10000; n++)
			if (madvise(page, P, MADV_DONTNEED) < 0)
				return 0;
		return 1;
	case PUNCH:
		return madvise(page, P, MADV_REMOVE) == 0;
	case MOVE:
		return mremap(page, 16 * P, 16 * P, MREMAP_MAYMOVE | MREMAP_FIXED, t->moved) ==
		       t->moved && !memcmp(t->moved + P, t->truth + (o->i + 1) * P, P);
	case FORK:
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			return 0;
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(sock);
			close(pair[0]);
			serve(t, pair[1]);
		}
		return cor_send_fds(sock, "f", 1, &pair[0], 1) == 0;
	}
	return 0;
}

static void __attribute__((noreturn)) serve_all(struct retake *t, int sock)
{
	struct order o;

	while (recv(sock, &o, sizeof(o), 0) == sizeof(o)) {
		char answer = carry_out(t, sock, &o);

		send(sock, &answer, 1, MSG_NOSIGNAL);
	}
	_exit(0);
}

static void serve(struct retake *t, int sock)
{
	serve_all(t, sock);
}

static void be_victim(struct retake *t, int sock)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (uffd < 0 || cor_pager_uffd_handshake(uffd, NULL) < 0)
		_exit(1);
	cor_send_fds(sock, "u", 1, &uffd, 1);
	close(uffd);
	serve(t, sock);
}

static void tell(int sock, char what, uint64_t i)
{
	struct order o = { what, i };

	assert_int_equal(send(sock, &o, sizeof(o), 0), sizeof(o));
}

static int hear(int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	char answer;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(recv(sock, &answer, 1, 0), 1);
	return answer;
}

static int ask(int sock, char what, uint64_t i)
{
	tell(sock, what, i);
	return hear(sock);
}

static bool waits(int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	return poll(&p, 1, 50) == 0;
}

static void fork_child(struct retake *t)
{
	unsigned n = 1;
	char byte;

	tell(t->order, FORK, 0);
	assert_int_equal(cor_recv_fds(t->order, &byte, 1, &t->child, &n), 1);
	assert_int_equal(hear(t->order), 1);
	t->before[t->child] = true;
}

/* ---- the pager -------------------------------------------------------------------------- */

static void __attribute__((noreturn)) be_pager(struct retake *t, bool again, bool prefetch)
{
	struct cor_region r = { .start = (uintptr_t)t->mem, .len = NPAGES * P,
				.offset = SOURCE_BASE, .shared = t->shared };
	struct cor_error err = COR_ERROR_INIT;
	struct cor_pager *p;
	struct cor_ctx *ctx;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&t->words->lanes))
		usleep(200);
	if (cor_open(&ctx, &err) < 0 || cor_pager_new(&p, ctx, &err) < 0)
		_exit(1);
	cor_pager_keep(p, t->journal);
	if (again && cor_journal_open(&t->journal, dup(cor_journal_fd(t->journal)), &err) < 0)
		_exit(2);
	cor_pager_keep(p, t->journal);
	cor_pager_add_lane(p, stream_of(t->words->lane[0]), COR_CONN_DEMAND, NULL);
	cor_pager_add_lane(p, stream_of(t->words->lane[1]), COR_CONN_BULK, NULL);
	if (again ? cor_pager_retake(p, &err) < 0 :
		    cor_pager_add_region(p, &r, &err) < 0 || cor_pager_start(p, t->uffd, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		_exit(3);
	}
	if (prefetch)
		cor_pager_prefetch(p, true);
	for (;;) {
		struct pollfd pfd = { cor_pager_event_fd(p), POLLIN, 0 };
		uint64_t n;

		atomic_store(&t->words->state, cor_pager_state(p, NULL));
		poll(&pfd, 1, 10);
		(void)!read(pfd.fd, &n, sizeof(n));
	}
}

/* It is made before the threads that serve the lanes, whose locks it would have for ever if
 * they were held at that moment: the C library does not know of cor_fork_as(). */
static void start_pager(struct retake *t, bool again, bool prefetch)
{
	struct shared_words *w = t->words;

	atomic_store(&w->lanes, false);
	atomic_store(&w->state, COR_PAGER_IDLE);
	t->pager = cor_fork_as(CLONE_FILES, 0, false);
	assert_true(t->pager >= 0);
	if (t->pager == 0)
		be_pager(t, again, prefetch);
	w->lane[0] = toy_connect(&t->toy, COR_CONN_DEMAND);
	w->lane[1] = toy_connect(&t->toy, COR_CONN_BULK);
	atomic_store(&w->lanes, true);
	for (int ms = 0; atomic_load(&w->state) == COR_PAGER_IDLE; ms++) {
		assert_in_range(ms, 0, 5000);
		usleep(1000);
	}
}

static bool is_uffd(int fd)
{
	char path[40], what[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, what, sizeof(what) - 1) > 0 && strstr(what, "userfaultfd");
}

/* Its descriptors are ours too: all but the ones that must live on go. */
static void kill_pager(struct retake *t)
{
	kill(t->pager, SIGKILL);
	assert_int_equal(waitpid(t->pager, NULL, 0), t->pager);
	t->pager = 0;
	shutdown(t->words->lane[0], SHUT_RDWR);
	shutdown(t->words->lane[1], SHUT_RDWR);
	toy_end(&t->toy);
	toy_init(&t->toy, t->truth, SOURCE_BASE, NPAGES);
	for (int fd = 3; fd < FDS; fd++)
		if (!t->before[fd] && !is_uffd(fd))
			close(fd);
}

static void await_state(struct retake *t, enum cor_pager_state state)
{
	for (int ms = 0; atomic_load(&t->words->state) != (int)state; ms++) {
		assert_in_range(ms, 0, 5000);
		assert_int_not_equal(atomic_load(&t->words->state), COR_PAGER_FAILED);
		usleep(1000);
	}
}

/* ---- set-up ------------------------------------------------------------------------------ */

static int setup_as(void **state, bool shared)
{
	struct retake *t = test_calloc(1, sizeof(*t));
	unsigned n = 1;
	int pair[2];
	char byte;

	*state = t;
	t->child = -1;
	t->shared = shared;
	t->truth = map(NPAGES * P, MAP_PRIVATE);
	t->mem = map(NPAGES * P, shared ? MAP_SHARED : MAP_PRIVATE);
	t->moved = map(16 * P, MAP_PRIVATE);
	t->words = map(P, MAP_SHARED);
	for (uint64_t i = 0; i < NPAGES * P / 8; i++)
		((uint64_t *)t->truth)[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
	toy_init(&t->toy, t->truth, SOURCE_BASE, NPAGES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	t->victim = fork();
	if (t->victim == 0) {
		close(pair[0]);
		be_victim(t, pair[1]);
	}
	close(pair[1]);
	t->order = pair[0];
	assert_int_equal(cor_recv_fds(t->order, &byte, 1, &t->uffd, &n), 1);
	assert_int_equal(cor_journal_new(&t->journal, NULL), 0);
	for (int fd = 0; fd < FDS; fd++)
		t->before[fd] = fcntl(fd, F_GETFD) >= 0;
	return 0;
}

static int setup(void **state)
{
	return setup_as(state, false);
}

static int setup_shared(void **state)
{
	return setup_as(state, true);
}

static int teardown(void **state)
{
	struct retake *t = *state;

	kill(t->victim, SIGKILL);
	waitpid(t->victim, NULL, 0);
	if (t->pager)
		kill_pager(t);
	toy_end(&t->toy);
	for (int fd = 3; fd < FDS; fd++)
		if (is_uffd(fd))
			close(fd);
	cor_closep(&t->order);
	cor_closep(&t->child);
	cor_journal_free(t->journal);
	munmap(t->truth, NPAGES * P);
	munmap(t->mem, NPAGES * P);
	munmap(t->moved, 16 * P);
	munmap(t->words, P);
	test_free(t);
	return 0;
}

/* ---- tests ------------------------------------------------------------------------------- */

static void all_is_right(struct retake *t)
{
	for (uint64_t i = 0; i < NPAGES; i++)
		assert_int_equal(ask(t->order, CHECK, i), 1);
}

static void a_task_waits_until_another_pager_is_there(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	assert_int_equal(ask(t->order, CHECK, 3), 1);
	kill_pager(t);
	assert_int_equal(ask(t->order, CHECK, 3), 1);   /* it is there */
	tell(t->order, CHECK, 4);
	assert_true(waits(t->order));
	start_pager(t, true, true);
	assert_int_equal(hear(t->order), 1);
	await_state(t, COR_PAGER_DRAINED);
	all_is_right(t);
}

static void only_missing_pages_are_fetched_again(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(ask(t->order, CHECK, i), 1);
	kill_pager(t);
	start_pager(t, true, true);
	await_state(t, COR_PAGER_DRAINED);
	/* in bulk they come in runs of 64 pages */
	assert_in_range(t->toy.reads[COR_CONN_BULK], 1, (NPAGES - 100) / 64 + 3);
	all_is_right(t);
}

/* The fault was read, but nobody has answered it: the kernel does not tell it again. */
static void a_fault_that_was_read_is_answered(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	assert_int_equal(ask(t->order, CHECK, 0), 1);
	atomic_store(&t->toy.hold_demand, true);
	tell(t->order, CHECK, 50);
	assert_true(waits(t->order));   /* the source has it, and says nothing */
	atomic_store(&t->toy.hold_demand, false);
	kill_pager(t);
	start_pager(t, true, false);
	assert_int_equal(hear(t->order), 1);
}

static void what_was_dropped_stays_dropped(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	assert_int_equal(ask(t->order, DROP, 5), 1);
	assert_int_equal(ask(t->order, CHECK, 6), 1);
	assert_int_equal(ask(t->order, DROP, 6), 1);
	kill_pager(t);
	tell(t->order, DROP, 7);        /* waits until somebody reads that */
	assert_true(waits(t->order));
	start_pager(t, true, true);
	assert_int_equal(hear(t->order), 1);
	for (uint64_t i = 5; i < 8; i++)
		assert_int_equal(ask(t->order, ZERO, i), 1);
	await_state(t, COR_PAGER_DRAINED);
	for (uint64_t i = 5; i < 8; i++)
		assert_int_equal(ask(t->order, ZERO, i), 1);
	assert_int_equal(ask(t->order, CHECK, 8), 1);
}

static void events_without_number_are_remembered(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	assert_int_equal(ask(t->order, DROP, 5), 1);
	assert_int_equal(ask(t->order, DROP_OFTEN, 900), 1);
	assert_int_equal(ask(t->order, DROP, 7), 1);
	kill_pager(t);
	start_pager(t, true, true);
	await_state(t, COR_PAGER_DRAINED);
	assert_int_equal(ask(t->order, ZERO, 5), 1);
	assert_int_equal(ask(t->order, ZERO, 7), 1);
	assert_int_equal(ask(t->order, ZERO, 900), 1);
	assert_int_equal(ask(t->order, CHECK, 6), 1);
}

static void memory_that_moved_is_found_where_it_is(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	assert_int_equal(ask(t->order, MOVE, 32), 1);
	kill_pager(t);
	start_pager(t, true, true);
	await_state(t, COR_PAGER_DRAINED);
	assert_int_equal(ask(t->order, CHECK, 31), 1);
	assert_int_equal(ask(t->order, CHECK, 48), 1);
}

static void children_are_served_on(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	assert_int_equal(ask(t->order, DROP, 5), 1);
	fork_child(t);
	assert_int_equal(ask(t->order, DROP, 9), 1);
	assert_int_equal(ask(t->child, DROP, 10), 1);
	kill_pager(t);
	tell(t->child, CHECK, 7);
	assert_true(waits(t->child));
	start_pager(t, true, false);
	assert_int_equal(hear(t->child), 1);
	assert_int_equal(ask(t->child, ZERO, 5), 1);
	assert_int_equal(ask(t->child, CHECK, 9), 1);
	assert_int_equal(ask(t->order, ZERO, 9), 1);
	assert_int_equal(ask(t->child, ZERO, 10), 1);
	assert_int_equal(ask(t->order, CHECK, 10), 1);
}

static void children_that_ended_are_forgotten(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	fork_child(t);
	assert_int_equal(ask(t->child, CHECK, 1), 1);
	cor_closep(&t->child);          /* it ends */
	t->child = -1;
	fork_child(t);
	usleep(600000);                 /* the pager looks for the dead twice a second */
	kill_pager(t);
	start_pager(t, true, true);
	assert_int_equal(ask(t->child, CHECK, 2), 1);
	await_state(t, COR_PAGER_DRAINED);
	for (uint64_t i = 0; i < NPAGES; i++)
		assert_int_equal(ask(t->child, CHECK, i), 1);
}

/* In shared memory only the pager's bits tell a hole from what never came. */
static void a_hole_in_shared_memory_stays_a_hole(void **state)
{
	struct retake *t = *state;

	start_pager(t, false, false);
	assert_int_equal(ask(t->order, CHECK, 5), 1);
	fork_child(t);
	assert_int_equal(ask(t->order, PUNCH, 5), 1);
	kill_pager(t);
	start_pager(t, true, true);
	assert_int_equal(ask(t->child, ZERO, 5), 1);
	assert_int_equal(ask(t->order, ZERO, 5), 1);
	assert_int_equal(ask(t->child, CHECK, 6), 1);
	await_state(t, COR_PAGER_DRAINED);
}

/* Killed again and again, whatever it was doing. */
static void no_moment_is_the_wrong_one(void **state)
{
	struct retake *t = *state;
	unsigned kills = 0, seed = 1;

	start_pager(t, false, true);
	for (uint64_t i = 0; i < NPAGES; i++) {
		assert_int_equal(ask(t->order, i % 5 ? CHECK : DROP, i), 1);
		if (i % 30)
			continue;
		usleep((useconds_t)(rand_r(&seed) % 3000));
		kill_pager(t);
		kills++;
		start_pager(t, true, true);
	}
	await_state(t, COR_PAGER_DRAINED);
	assert_in_range(kills, 30, 40);
	for (uint64_t i = 0; i < NPAGES; i++)
		assert_int_equal(ask(t->order, i % 5 ? CHECK : ZERO, i), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_task_waits_until_another_pager_is_there),
		TEST(only_missing_pages_are_fetched_again),
		TEST(a_fault_that_was_read_is_answered),
		TEST(what_was_dropped_stays_dropped),
		TEST(events_without_number_are_remembered),
		TEST(memory_that_moved_is_found_where_it_is),
		TEST(children_are_served_on),
		TEST(children_that_ended_are_forgotten),
		cmocka_unit_test_setup_teardown(a_hole_in_shared_memory_stays_a_hole, setup_shared,
						teardown),
		TEST(no_moment_is_the_wrong_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
