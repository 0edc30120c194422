/* Tables that no capture makes: a peer's mistakes, or worse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files_fixture.h"

/* A table with one file at descriptor 0. */
struct one {
	Cor__Names__FileTable table;
	Cor__Names__Descriptor row, *rows[1];
	Cor__Names__OpenFile file, *files[1];
	Cor__Names__InotifyWatch watch, *watches[1];
};

static const Cor__Names__FileTable *make(struct one *o, Cor__Names__FileKind kind)
{
	o->table = (Cor__Names__FileTable)COR__NAMES__FILE_TABLE__INIT;
	o->row = (Cor__Names__Descriptor)COR__NAMES__DESCRIPTOR__INIT;
	o->file = (Cor__Names__OpenFile)COR__NAMES__OPEN_FILE__INIT;
	o->file.kind = kind;
	o->rows[0] = &o->row;
	o->files[0] = &o->file;
	o->table.descriptors = o->rows;
	o->table.files = o->files;
	o->table.n_descriptors = o->table.n_files = 1;
	return &o->table;
}

/* Refused in the daemon as well as in the stub. */
static void assert_refused(const Cor__Names__FileTable *table, int code)
{
	assert_int_equal(cor_files_check(table, NULL, NULL, NULL), code);
	restore_refused(table, code);
}

static void test_socket_of_another_family_is_refused(void **state)
{
	static const struct { int domain, type, protocol; } wrong[] = {
		{ AF_PACKET, SOCK_RAW, 0 }, { AF_NETLINK, SOCK_RAW, 0 }, { AF_ALG, SOCK_SEQPACKET, 0 },
		{ AF_INET, SOCK_RAW, 1 }, { AF_INET, SOCK_SEQPACKET, 132 }, { AF_INET6, SOCK_DGRAM, 58 },
	};
	struct one o;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		make(&o, COR__NAMES__FILE_KIND__INET);
		o.file.domain = wrong[i].domain;
		o.file.type = wrong[i].type;
		o.file.protocol = wrong[i].protocol;
		assert_refused(&o.table, -EPROTONOSUPPORT);
	}
}

static void test_unix_socket_of_another_family_is_refused(void **state)
{
	struct sockaddr name = { .sa_family = AF_UNIX, .sa_data = "\0abstract" };
	struct one o;

	make(&o, COR__NAMES__FILE_KIND__UNIX);
	o.file.address.data = (uint8_t *)&name;
	o.file.address.len = sizeof(name);
	o.file.domain = AF_INET;
	o.file.type = SOCK_STREAM;
	assert_refused(&o.table, -EPROTONOSUPPORT);
	o.file.domain = AF_UNIX;
	o.file.type = 0x1000 | SOCK_STREAM;
	assert_refused(&o.table, -EPROTONOSUPPORT);
}

/* Each number below it would have to be taken and given back. */
static void test_watch_number_out_of_reach_is_refused(void **state)
{
	static const int numbers[] = { INT_MAX, INT_MIN, 0 };
	char path[] = "/";
	struct one o;

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		make(&o, COR__NAMES__FILE_KIND__INOTIFY);
		o.watch = (Cor__Names__InotifyWatch)COR__NAMES__INOTIFY_WATCH__INIT;
		o.watch.wd = numbers[i];
		o.watch.mask = 1;
		o.watch.path = path;
		o.watches[0] = &o.watch;
		o.file.watches = o.watches;
		o.file.n_watches = 1;
		assert_refused(&o.table, -EPROTO);
	}
}

static void test_descriptor_number_out_of_range_is_refused(void **state)
{
	struct one o;

	make(&o, COR__NAMES__FILE_KIND__EVENTFD);
	o.row.fd = INT_MAX;
	assert_refused(&o.table, -EPROTO);
	o.row.fd = -1;
	assert_refused(&o.table, -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(test_socket_of_another_family_is_refused),
		FILES_TEST(test_unix_socket_of_another_family_is_refused),
		FILES_TEST(test_watch_number_out_of_reach_is_refused),
		FILES_TEST(test_descriptor_number_out_of_range_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
