/* Exports: who has the ticket reads what was exported, and nobody else anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cor/export.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/paging/fetch.h"
#include "libcor/paging/ticket.h"
#include "libcor/paging/wire.h"
#include "libcor/transport/lane.h"

#define P 4096u
#define TIMEOUT_MS 5000

static void closep(struct cor_export **e) { cor_export_close(*e); }
#define _cleanup_export_ _cleanup_(closep)

struct pages { char byte[16]; unsigned n; };    /* the first byte of each page */

static int note(void *arg, uint64_t offset, const void *data, uint32_t npages)
{
	struct pages *p = arg;

	for (uint32_t i = 0; i < npages && p->n < sizeof(p->byte); i++)
		p->byte[p->n++] = data ? ((const char *)data)[i * P] : '0';
	return 0;
}

static int connect_with(const struct cor_ticket *t, enum cor_connection_kind kind,
			struct cor_stream **lane)
{
	struct cor_lane_options o = {
		.addrport = t->addrport, .kind = kind, .session = t->id, .secret = t->secret,
		.timeout_ms = TIMEOUT_MS, .encrypted = strcmp(t->transport, "tls") == 0,
	};

	return cor_lane_connect(lane, &o, NULL);
}

static struct cor_ticket ticket_of(const struct cor_export *e)
{
	struct cor_ticket t;

	assert_int_equal(cor_ticket_parse(cor_export_ticket(e), &t, NULL), 0);
	return t;
}

static int fetch(const struct cor_ticket *t, unsigned npages, struct pages *out)
{
	_cleanup_stream_ struct cor_stream *lane = NULL;
	int r = connect_with(t, COR_CONN_BULK, &lane);

	*out = (struct pages){ .n = 0 };
	return r < 0 ? r : cor_fetch(lane, 0, 0, npages, false, note, out, NULL);
}

static char *four_pages(void)
{
	char *p = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	p[0] = 'a';
	p[2 * P] = 'c';
	return p;
}

static void own_memory_is_exported(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	char *memory = four_pages();
	struct cor_ticket t;
	struct pages got;

	assert_int_equal(cor_export_memory(&e, memory, 4 * P, NULL, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(t.size, 4 * P);
	assert_int_equal(fetch(&t, 4, &got), 0);
	assert_memory_equal(got.byte, "a0c0", 4);
	memory[P] = 'b';         /* read when asked for */
	assert_int_equal(fetch(&t, 4, &got), 0);
	assert_memory_equal(got.byte, "abc0", 4);
	assert_int_equal(fetch(&t, 5, &got), -ENOENT);
	munmap(memory, 4 * P);
}

static void process_is_exported(void **state)
{
	char *memory = four_pages();
	pid_t pid = fork();
	struct cor_export *e = NULL;
	struct cor_ticket t;
	struct pages got;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	memory[0] = 'X';         /* ours, not the child's */
	assert_int_equal(cor_export_process(&e, pid, (uintptr_t)memory, 3 * P, NULL, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(fetch(&t, 3, &got), 0);
	assert_memory_equal(got.byte, "a0c", 3);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(fetch(&t, 3, &got), -ESRCH);
	cor_export_close(e);
	munmap(memory, 4 * P);
}

static void file_is_exported_and_its_position_left_alone(void **state)
{
	_cleanup_close_ int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	_cleanup_export_ struct cor_export *e = NULL;
	struct cor_ticket t;
	struct pages got;

	assert_int_equal(pwrite(fd, "abcdefgh", 8, P), 8);
	assert_int_equal(lseek(fd, 3, SEEK_SET), 3);
	assert_int_equal(cor_export_file(&e, fd, P + 2, 4, NULL, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(t.size, P);
	assert_int_equal(fetch(&t, 1, &got), 0);
	assert_int_equal(got.byte[0], 'c');
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 3);
}

static void wrong_secret_is_refused(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	char *memory = four_pages();
	struct cor_export_stats stats;
	struct cor_stream *lane = NULL;
	struct cor_ticket t;

	assert_int_equal(cor_export_memory(&e, memory, P, NULL, NULL), 0);
	t = ticket_of(e);
	t.secret[31] ^= 1;
	assert_int_equal(connect_with(&t, COR_CONN_BULK, &lane), -EPERM);
	t = ticket_of(e);
	t.id[0] ^= 1;
	assert_int_equal(connect_with(&t, COR_CONN_DEMAND, &lane), -ENOENT);
	t = ticket_of(e);
	assert_int_equal(connect_with(&t, COR_CONN_CONTROL, &lane), -EPROTO);
	assert_null(lane);
	do
		cor_export_stats(e, &stats);
	while (stats.refused < 3);
	assert_int_equal(stats.requests, 0);
	munmap(memory, 4 * P);
}

static void who_does_not_speak_cor_is_turned_away(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: none\r\nAccept: */*\r\n";
	_cleanup_export_ struct cor_export *e = NULL;
	_cleanup_close_ int sock = -1;
	char *memory = four_pages(), reply[16];
	struct cor_ticket t;

	assert_int_equal(cor_export_memory(&e, memory, P, NULL, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(cor_tcp_connect(t.addrport, TIMEOUT_MS, &sock, NULL), 0);
	assert_int_equal(write(sock, http, 64), 64);
	assert_int_equal(read(sock, reply, sizeof(reply)), sizeof(struct cor_preamble_reply));
	assert_int_equal(((struct cor_preamble_reply *)reply)->status, -EPROTO);
	assert_int_equal(read(sock, reply, sizeof(reply)), 0);
	munmap(memory, 4 * P);
}

static void silent_peers_hold_nobody_up(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	char *memory = four_pages();
	struct cor_ticket t;
	struct pages got;
	int silent[40];

	assert_int_equal(cor_export_memory(&e, memory, P, NULL, NULL), 0);
	t = ticket_of(e);
	for (unsigned i = 0; i < ARRAY_SIZE(silent); i++)
		assert_int_equal(cor_tcp_connect(t.addrport, TIMEOUT_MS, &silent[i], NULL), 0);
	assert_int_equal(fetch(&t, 1, &got), 0);
	assert_int_equal(got.byte[0], 'a');
	for (unsigned i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
	munmap(memory, 4 * P);
}

static void closed_export_is_worth_nothing(void **state)
{
	_cleanup_stream_ struct cor_stream *lane = NULL;
	char *memory = four_pages(), c;
	struct cor_stream *other;
	struct cor_export *e = NULL;
	struct cor_ticket t;

	assert_int_equal(cor_export_memory(&e, memory, P, NULL, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(connect_with(&t, COR_CONN_DEMAND, &lane), 0);
	cor_export_close(e);
	assert_true(cor_stream_read(lane, &c, 1) < 0);
	assert_int_equal(connect_with(&t, COR_CONN_DEMAND, &other), -ECONNREFUSED);
	munmap(memory, 4 * P);
}

static void expired_ticket_admits_no_new_connection(void **state)
{
	const struct cor_export_options options = { .expire_s = 1 };
	_cleanup_export_ struct cor_export *e = NULL;
	_cleanup_stream_ struct cor_stream *before = NULL;
	char *memory = four_pages();
	struct pages got = { .n = 0 };
	struct cor_ticket t;
	struct cor_stream *after;

	assert_int_equal(cor_export_memory(&e, memory, P, &options, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(connect_with(&t, COR_CONN_DEMAND, &before), 0);
	poll(NULL, 0, 1100);     /* time itself is what is awaited */
	assert_int_equal(connect_with(&t, COR_CONN_DEMAND, &after), -ETIME);
	assert_int_equal(cor_fetch(before, 0, 0, 1, false, note, &got, NULL), 0);
	munmap(memory, 4 * P);
}

static const struct cor_export_options in_tls = { .flags = COR_EXPORT_ENCRYPT };

static void encrypted_export_is_read_with_its_ticket(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	char *memory = four_pages();
	struct cor_ticket t;
	struct pages got;

	assert_int_equal(cor_export_memory(&e, memory, 4 * P, &in_tls, NULL), 0);
	t = ticket_of(e);
	assert_string_equal(t.transport, "tls");
	assert_int_equal(fetch(&t, 4, &got), 0);
	assert_memory_equal(got.byte, "a0c0", 4);
	munmap(memory, 4 * P);
}

static void encrypted_export_turns_strangers_away(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	struct cor_export_stats stats;
	char *memory = four_pages();
	struct cor_stream *lane = NULL;
	struct cor_ticket t;

	assert_int_equal(cor_export_memory(&e, memory, P, &in_tls, NULL), 0);
	t = ticket_of(e);
	t.secret[31] ^= 1;
	assert_int_equal(connect_with(&t, COR_CONN_BULK, &lane), -EKEYREJECTED);
	t = ticket_of(e);
	t.id[0] ^= 1;
	assert_int_equal(connect_with(&t, COR_CONN_BULK, &lane), -ENOENT);
	t = ticket_of(e);
	strcpy(t.transport, "tcp");     /* in the clear, the secret is not even looked at */
	assert_int_equal(connect_with(&t, COR_CONN_DEMAND, &lane), -ENOKEY);
	assert_null(lane);
	do
		cor_export_stats(e, &stats);
	while (stats.refused < 3);
	assert_int_equal(stats.requests, 0);
	munmap(memory, 4 * P);
}

static void clear_export_has_no_keys(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	char *memory = four_pages();
	struct cor_stream *lane;
	struct cor_ticket t;

	assert_int_equal(cor_export_memory(&e, memory, P, NULL, NULL), 0);
	t = ticket_of(e);
	assert_string_equal(t.transport, "tcp");        /* loopback */
	strcpy(t.transport, "tls");
	assert_int_equal(connect_with(&t, COR_CONN_DEMAND, &lane), -EOPNOTSUPP);
	munmap(memory, 4 * P);
}

static void export_beyond_loopback_is_encrypted_unless_told_otherwise(void **state)
{
	struct cor_export_options o = { .listen = "0.0.0.0:0", .advertise = "127.0.0.1" };
	char *memory = four_pages();
	struct cor_export *e;
	struct cor_ticket t;

	assert_int_equal(cor_export_memory(&e, memory, P, &o, NULL), 0);
	t = ticket_of(e);
	assert_string_equal(t.transport, "tls");
	cor_export_close(e);
	o.flags = COR_EXPORT_CLEAR;
	assert_int_equal(cor_export_memory(&e, memory, P, &o, NULL), 0);
	t = ticket_of(e);
	assert_string_equal(t.transport, "tcp");
	cor_export_close(e);
	o.flags = COR_EXPORT_CLEAR | COR_EXPORT_ENCRYPT;
	assert_int_equal(cor_export_memory(&e, memory, P, &o, NULL), -EINVAL);
	munmap(memory, 4 * P);
}

/* Somebody who never finishes his handshake holds up nobody. */
static void silent_handshake_holds_up_nobody(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	_cleanup_close_ int sock = -1;
	struct cor_preamble p;
	char *memory = four_pages();
	struct cor_ticket t;
	struct pages got;

	assert_int_equal(cor_export_memory(&e, memory, 4 * P, &in_tls, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(cor_tcp_connect(t.addrport, TIMEOUT_MS, &sock, NULL), 0);
	cor_preamble_make(&p, COR_CONN_DEMAND, 0, t.id, NULL);
	p.security = COR_SECURITY_TLS;
	assert_int_equal(cor_preamble_exchange(sock, &p, TIMEOUT_MS, NULL), 0);
	assert_int_equal(write(sock, "\x16\x03\x01\x02", 4), 4);
	assert_int_equal(fetch(&t, 4, &got), 0);
	assert_memory_equal(got.byte, "a0c0", 4);
	munmap(memory, 4 * P);
}

static void revoke_and_look(const struct cor_export_options *o, int refusal)
{
	_cleanup_export_ struct cor_export *e = NULL;
	_cleanup_stream_ struct cor_stream *lane = NULL;
	struct cor_stream *other = NULL;
	char *memory = four_pages(), c;
	struct cor_ticket old, fresh;
	struct pages got;

	assert_int_equal(cor_export_memory(&e, memory, 4 * P, o, NULL), 0);
	old = ticket_of(e);
	assert_int_equal(connect_with(&old, COR_CONN_DEMAND, &lane), 0);
	assert_int_equal(cor_export_revoke(e, NULL), 0);
	assert_true(cor_stream_read(lane, &c, 1) < 0);
	assert_int_equal(connect_with(&old, COR_CONN_DEMAND, &other), refusal);
	fresh = ticket_of(e);
	assert_memory_not_equal(&fresh.secret, &old.secret, sizeof(old.secret));
	assert_string_equal(fresh.addrport, old.addrport);
	assert_int_equal(fetch(&fresh, 4, &got), 0);
	assert_memory_equal(got.byte, "a0c0", 4);
	munmap(memory, 4 * P);
}

static void revoked_ticket_is_worth_nothing(void **state)
{
	revoke_and_look(NULL, -ENOENT);
	revoke_and_look(&in_tls, -ENOENT);
}

static void any_address_needs_a_host_to_advertise(void **state)
{
	struct cor_export_options options = { .listen = "*:0" };
	char *memory = four_pages();
	struct cor_export *e = NULL;
	struct cor_ticket t;

	assert_int_equal(cor_export_memory(&e, memory, P, &options, NULL), -EINVAL);
	options.listen = "0.0.0.0:0";
	assert_int_equal(cor_export_memory(&e, memory, P, &options, NULL), -EINVAL);
	options.advertise = "example.org";
	assert_int_equal(cor_export_memory(&e, memory, P, &options, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(strncmp(t.addrport, "example.org:", 12), 0);
	cor_export_close(e);
	munmap(memory, 4 * P);
}

static void bad_arguments_are_refused_and_named(void **state)
{
	struct cor_export_options options = { .listen = "nowhere" };
	char *memory = four_pages();
	struct cor_export *e = NULL;
	struct cor_error err;

	assert_int_equal(cor_export_memory(&e, memory + 1, P, NULL, &err), -EINVAL);
	assert_int_equal(cor_export_memory(&e, memory, P + 1, NULL, &err), -EINVAL);
	assert_int_equal(cor_export_memory(&e, memory, 0, NULL, &err), -EINVAL);
	assert_int_equal(cor_export_memory(&e, memory, P, &options, &err), -EINVAL);
	assert_non_null(strstr(err.text, "nowhere"));
	options = (struct cor_export_options){ .reserved = { 1 } };
	assert_int_equal(cor_export_memory(&e, memory, P, &options, &err), -EINVAL);
	assert_int_equal(cor_export_process(&e, 0x7ffffff0, 0, P, NULL, &err), -ESRCH);
	assert_int_equal(cor_export_file(&e, -1, 0, P, NULL, &err), -ENOENT);
	assert_null(e);
	cor_export_close(NULL);
	munmap(memory, 4 * P);
}

static void what_was_served_is_counted(void **state)
{
	_cleanup_export_ struct cor_export *e = NULL;
	char *memory = four_pages();
	struct cor_export_stats stats;
	struct cor_ticket t;
	struct pages got;

	assert_int_equal(cor_export_memory(&e, memory, 4 * P, NULL, NULL), 0);
	t = ticket_of(e);
	assert_int_equal(fetch(&t, 4, &got), 0);
	do
		cor_export_stats(e, &stats);
	while (stats.connections);
	assert_int_equal(stats.requests, 1);
	assert_int_equal(stats.pages_sent, 2);
	assert_int_equal(stats.pages_zero, 2);
	assert_int_equal(stats.bytes_sent, 2 * P + 4 * sizeof(struct cor_page_reply));
	assert_int_equal(stats.refused, 0);
	munmap(memory, 4 * P);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_memory_is_exported),
		cmocka_unit_test(process_is_exported),
		cmocka_unit_test(file_is_exported_and_its_position_left_alone),
		cmocka_unit_test(wrong_secret_is_refused),
		cmocka_unit_test(who_does_not_speak_cor_is_turned_away),
		cmocka_unit_test(silent_peers_hold_nobody_up),
		cmocka_unit_test(closed_export_is_worth_nothing),
		cmocka_unit_test(expired_ticket_admits_no_new_connection),
		cmocka_unit_test(encrypted_export_is_read_with_its_ticket),
		cmocka_unit_test(encrypted_export_turns_strangers_away),
		cmocka_unit_test(clear_export_has_no_keys),
		cmocka_unit_test(export_beyond_loopback_is_encrypted_unless_told_otherwise),
		cmocka_unit_test(silent_handshake_holds_up_nobody),
		cmocka_unit_test(revoked_ticket_is_worth_nothing),
		cmocka_unit_test(any_address_needs_a_host_to_advertise),
		cmocka_unit_test(bad_arguments_are_refused_and_named),
		cmocka_unit_test(what_was_served_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
