/* Remote memory: two devices of this process, one that listens and one that connects.
 * Every test runs over each transport that can be had here. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libcor/base/io.h"
#include "libcor/transport/rdma.h"
#include "tests/unit/rdma_fixture.h"

#define P 4096u

static struct pair *pair_of(void **state)
{
	return *state;
}

static void fill(unsigned char *m, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		m[i] = (unsigned char)(i * 31 + seed + (i >> 8));
}

static struct cor_rdma_remote remote(const struct cor_rdma_memory *m)
{
	return (struct cor_rdma_remote){ m->remote, m->key };
}

/* Where too much is posted, polling makes room. */
static void post_read(struct pair *p, const struct cor_rdma_memory *local, void *to, size_t len,
		      struct cor_rdma_remote from, uint64_t cookie)
{
	int r;

	while ((r = p->ops->read(p->out, local, to, len, &from, cookie)) == -EAGAIN) {
		struct cor_rdma_event e;

		p->ops->poll(p->out, &e, 0);
		p->ops->poll(p->in, &e, 0);
	}
	assert_int_equal(r, 0);
}

static void reads_what_the_peer_has(void **state)
{
	struct pair *p = pair_of(state);
	struct cor_rdma_memory theirs, ours;
	struct cor_rdma_remote from;
	struct cor_rdma_event e;
	unsigned char *there = pages(16), *here = pages(16);

	fill(there, 16 * P, 1);
	assert_int_equal(p->ops->enroll(p->passive, there, 16 * P, COR_RDMA_REMOTE_READ, &theirs, NULL), 0);
	assert_int_equal(p->ops->enroll(p->active, here, 16 * P, COR_RDMA_LOCAL, &ours, NULL), 0);
	from = remote(&theirs);
	from.addr += 3 * P;
	assert_int_equal(p->ops->read(p->out, &ours, here + P, 5 * P, &from, 0x1234), 0);
	pair_await(p, p->out, &e);
	assert_int_equal(e.kind, COR_RDMA_READ);
	assert_int_equal(e.cookie, 0x1234);
	assert_memory_equal(here + P, there + 3 * P, 5 * P);
	for (unsigned i = 0; i < P; i++)
		assert_int_equal(here[i] | here[6 * P + i], 0);
	p->ops->forget(p->passive, &theirs);
	p->ops->forget(p->active, &ours);
	free(there);
	free(here);
}

static void many_reads_at_once(void **state)
{
	enum { N = 64 };
	struct pair *p = pair_of(state);
	unsigned char *there = pages(N), *here = pages(N);
	struct cor_rdma_memory theirs, ours;
	struct cor_rdma_event e;
	bool seen[N] = { false };

	fill(there, N * P, 2);
	assert_int_equal(p->ops->enroll(p->passive, there, N * P, COR_RDMA_REMOTE_READ, &theirs, NULL), 0);
	assert_int_equal(p->ops->enroll(p->active, here, N * P, COR_RDMA_LOCAL, &ours, NULL), 0);
	for (unsigned i = 0; i < N; i++) {
		struct cor_rdma_remote from = { theirs.remote + i * P, theirs.key };

		post_read(p, &ours, here + (N - 1 - i) * P, P, from, i);
	}
	for (unsigned i = 0; i < N; i++) {
		pair_await(p, p->out, &e);
		assert_int_equal(e.kind, COR_RDMA_READ);
		assert_in_range(e.cookie, 0, N - 1);
		assert_false(seen[e.cookie]);
		seen[e.cookie] = true;
		assert_memory_equal(here + (N - 1 - e.cookie) * P, there + e.cookie * P, P);
	}
	p->ops->forget(p->passive, &theirs);
	p->ops->forget(p->active, &ours);
	free(there);
	free(here);
}

/* What was written is there when the note comes, in the order of posting. */
static void writes_come_before_their_note(void **state)
{
	struct pair *p = pair_of(state);
	unsigned char *there = pages(8), *here = pages(8);
	struct cor_rdma_memory theirs, ours;
	struct cor_rdma_event e;

	fill(here, 8 * P, 3);
	assert_int_equal(p->ops->enroll(p->active, here, 8 * P, COR_RDMA_LOCAL, &ours, NULL), 0);
	assert_int_equal(p->ops->enroll(p->passive, there, 8 * P, COR_RDMA_REMOTE_WRITE, &theirs, NULL), 0);
	for (uint32_t i = 0; i < 4; i++) {
		struct cor_rdma_remote to = { theirs.remote + 2 * i * P, theirs.key };
		uint32_t note = 0xfeed0000u + i;

		assert_int_equal(p->ops->write(p->out, &ours, here + 2 * i * P, P, &to, NULL), 0);
		to.addr += P;
		assert_int_equal(p->ops->write(p->out, &ours, here + (2 * i + 1) * P, P, &to, &note), 0);
	}
	for (uint32_t i = 0; i < 4; i++) {
		pair_await(p, p->in, &e);
		assert_int_equal(e.kind, COR_RDMA_NOTE);
		assert_int_equal(e.note, 0xfeed0000u + i);
		assert_memory_equal(there + 2 * i * P, here + 2 * i * P, 2 * P);
	}
	p->ops->forget(p->passive, &theirs);
	p->ops->forget(p->active, &ours);
	free(there);
	free(here);
}

static void messages_both_ways(void **state)
{
	struct pair *p = pair_of(state);
	struct cor_rdma_event e;
	char text[COR_RDMA_MESSAGE];

	for (unsigned i = 1; i <= COR_RDMA_MESSAGE; i++) {
		memset(text, (int)('A' + i), i);
		assert_int_equal(p->ops->send(p->out, text, i), 0);
		pair_await(p, p->in, &e);
		assert_int_equal(e.kind, COR_RDMA_MSG);
		assert_int_equal(e.len, i);
		assert_memory_equal(e.bytes, text, i);
		assert_int_equal(p->ops->send(p->in, text, i), 0);
		pair_await(p, p->out, &e);
		assert_int_equal(e.len, i);
		assert_memory_equal(e.bytes, text, i);
	}
}

static void unread_messages_have_room(void **state)
{
	struct pair *p = pair_of(state);
	struct cor_rdma_event e;

	for (uint32_t i = 0; i < COR_RDMA_UNREAD; i++)
		assert_int_equal(p->ops->send(p->out, &i, sizeof(i)), 0);
	for (uint32_t i = 0; i < COR_RDMA_UNREAD; i++) {
		pair_await(p, p->in, &e);
		assert_int_equal(e.kind, COR_RDMA_MSG);
		assert_memory_equal(e.bytes, &i, sizeof(i));
	}
}

static void the_greeting_arrives(void **state)
{
	struct pair *p = pair_of(state);

	assert_int_equal(p->greeting.purpose, PAIR_PURPOSE);
	assert_memory_equal(p->greeting.token, pair_token, COR_RDMA_TOKEN);
}

static void a_wrong_token_is_refused(void **state)
{
	struct pair *p = pair_of(state);
	struct cor_rdma_greeting g = { .purpose = 1 };
	struct cor_error err = COR_ERROR_INIT;
	struct cor_rdma_qp *qp;
	int r;

	pair_serve(p);
	r = p->ops->connect(p->active, &g, 1000, &qp, &err);
	assert_true(r == -ECONNREFUSED || r == -ETIMEDOUT);
	assert_string_not_equal(err.text, "");
	assert_null(pair_served(p));
}

/* A key that is not valid any more reads nothing. */
static void forgotten_memory_cannot_be_read(void **state)
{
	struct pair *p = pair_of(state);
	unsigned char *there = pages(1), *here = pages(1), zero[P] = { 0 };
	struct cor_rdma_memory theirs, ours;
	struct cor_rdma_remote from;
	struct cor_rdma_event e;
	int r;

	fill(there, P, 4);
	assert_int_equal(p->ops->enroll(p->passive, there, P, COR_RDMA_REMOTE_READ, &theirs, NULL), 0);
	assert_int_equal(p->ops->enroll(p->active, here, P, COR_RDMA_LOCAL, &ours, NULL), 0);
	from = remote(&theirs);
	p->ops->forget(p->passive, &theirs);
	assert_int_equal(p->ops->read(p->out, &ours, here, P, &from, 1), 0);
	r = pair_poll_until(p, p->out, &e, 2000);
	assert_int_not_equal(r, 1);
	assert_memory_equal(here, zero, P);
	p->ops->forget(p->active, &ours);
	free(there);
	free(here);
}

static void memory_that_is_not_for_writing(void **state)
{
	struct pair *p = pair_of(state);
	unsigned char *there = pages(1), *here = pages(1), zero[P] = { 0 };
	struct cor_rdma_memory theirs, ours;
	struct cor_rdma_remote to;
	struct cor_rdma_event e;
	uint32_t note = 1;

	fill(here, P, 5);
	assert_int_equal(p->ops->enroll(p->passive, there, P, COR_RDMA_REMOTE_READ, &theirs, NULL), 0);
	assert_int_equal(p->ops->enroll(p->active, here, P, COR_RDMA_LOCAL, &ours, NULL), 0);
	to = remote(&theirs);
	assert_int_equal(p->ops->write(p->out, &ours, here, P, &to, &note), 0);
	assert_int_not_equal(pair_poll_until(p, p->in, &e, 1000), 1);
	assert_memory_equal(there, zero, P);
	p->ops->forget(p->passive, &theirs);
	p->ops->forget(p->active, &ours);
	free(there);
	free(here);
}

/* Only where the provider knows connections; elsewhere the lane's owner notices. */
static void the_end_of_the_peer_is_noticed(void **state)
{
	struct pair *p = pair_of(state);
	struct cor_rdma_event e;

	if (!p->tells_the_end)
		skip();
	p->ops->disconnect(p->in);
	p->in = NULL;
	assert_int_equal(pair_poll_until(p, p->out, &e, 5000), -ECONNRESET);
	assert_int_equal(p->ops->poll(p->out, &e, 1), -ECONNRESET);
	assert_int_equal(p->ops->send(p->out, "x", 1), -ECONNRESET);
}

/* Sleeping in poll(2) is enough: nobody has to look meanwhile. */
static void an_armed_descriptor_wakes(void **state)
{
	struct pair *p = pair_of(state);
	struct cor_rdma_event e;
	int n = 0;

	/* what connecting has left behind */
	while (p->ops->arm(p->in) < 0)
		assert_int_equal(p->ops->poll(p->in, &e, 1), 0);
	assert_int_equal(p->ops->send(p->out, "wake", 4), 0);
	for (unsigned i = 0; i < 2000 && n == 0; i++) {
		struct pollfd fds = { .fd = p->ops->fd(p->in), .events = POLLIN };

		p->ops->poll(p->out, &e, 1);    /* where sending needs that */
		if (p->ops->arm(p->in) == 0)
			assert_in_range(poll(&fds, 1, 5000), 1, 1);
		n = p->ops->poll(p->in, &e, 1);
	}
	assert_int_equal(n, 1);
	assert_memory_equal(e.bytes, "wake", 4);
}

/* What librdmacm has opened it uses for all devices of a process, and of its children. */
static void a_forked_child_is_told_that_it_has_no_adapter(void **state)
{
	struct pair *p = *state;
	struct cor_error err = COR_ERROR_INIT;
	struct cor_rdma *device;
	int status;
	pid_t pid;

	if (strcmp(pair_transport, "verbs") != 0)
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int r = p->ops->open("", &p->address, &device, &err);

		_exit(r != -EACCES ? 1 : !strstr(err.text, "before this process was forked"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void names_of_transports(void **state)
{
	const char *provider;

	assert_null(cor_rdma_find("tcp", &provider));
	assert_null(cor_rdma_find("", &provider));
	assert_null(cor_rdma_find("fabrics:tcp", &provider));
	assert_non_null(cor_rdma_find("fabric:tcp;ofi_rxm", &provider));
	assert_string_equal(provider, "tcp;ofi_rxm");
	assert_non_null(cor_rdma_find("fabric", &provider));
	assert_string_equal(provider, "");
}

static void unknown_providers_are_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	unsigned caps;

	assert_int_equal(cor_rdma_fabric.probe("pigeon", &caps, &err), -ENODEV);
	assert_non_null(strstr(err.text, "pigeon"));
	assert_int_equal(cor_rdma_fabric.probe("", &caps, &err), -EINVAL);
	assert_non_null(strstr(err.text, "fabric:tcp"));
}

/* A file as an endpoint of process pid leaves it, of the PID namespace ns. */
static void leave(char *path, size_t size, unsigned long ns, int pid)
{
	FILE *f;

	snprintf(path, size, "/dev/shm/cor-%lx-%d-%016x:0:0", ns, pid, (unsigned)getpid());
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

static void files_of_dead_processes_are_swept(void **state)
{
	char dead[80], living[80], elsewhere[80];
	struct stat ns;
	int child = fork();

	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	assert_int_equal(stat("/proc/self/ns/pid", &ns), 0);
	leave(dead, sizeof(dead), ns.st_ino, child);
	leave(living, sizeof(living), ns.st_ino, getpid());
	leave(elsewhere, sizeof(elsewhere), ns.st_ino + 1, child);
	cor_rdma_sweep();
	assert_int_equal(access(dead, F_OK), -1);
	assert_int_equal(unlink(living), 0);
	assert_int_equal(unlink(elsewhere), 0);
}

#define OVER(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest each[] = {
		OVER(reads_what_the_peer_has),
		OVER(many_reads_at_once),
		OVER(writes_come_before_their_note),
		OVER(messages_both_ways),
		OVER(unread_messages_have_room),
		OVER(the_greeting_arrives),
		OVER(a_wrong_token_is_refused),
		OVER(forgotten_memory_cannot_be_read),
		OVER(memory_that_is_not_for_writing),
		OVER(the_end_of_the_peer_is_noticed),
		OVER(an_armed_descriptor_wakes),
		OVER(a_forked_child_is_told_that_it_has_no_adapter),
	};
	const struct CMUnitTest once[] = {
		cmocka_unit_test(names_of_transports),
		cmocka_unit_test(unknown_providers_are_named),
		cmocka_unit_test(files_of_dead_processes_are_swept),
	};
	int failed = cmocka_run_group_tests_name("transports", once, NULL, NULL);

	for (unsigned i = 0; pair_transports[i]; i++) {
		pair_transport = pair_transports[i];
		if (!pair_available(pair_transport))
			continue;
		failed += cmocka_run_group_tests_name(pair_transport, each, NULL, NULL);
	}
	return failed;
}
