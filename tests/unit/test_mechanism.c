/* Mechanisms: which of them a session has, and what is refused without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files_fixture.h"

static void offer_all(struct cor_mechanisms *m)
{
	for (unsigned i = 0; i < COR_MECHANISMS; i++)
		cor_mechanisms_offered(m, cor_mechanism_table[i].name,
				       cor_mechanism_table[i].version);
}

static void test_all_are_on_between_equals(void **state)
{
	struct cor_mechanisms m;
	char text[64];

	cor_mechanisms_init(&m, 0, 0);
	offer_all(&m);
	assert_int_equal(cor_mechanisms_settle(&m, "B", NULL), 0);
	for (unsigned i = 0; i < COR_MECHANISMS; i++) {
		assert_true(cor_mechanism_on(&m, i));
		assert_string_equal(cor_mechanism_state_text(&m, i, text, sizeof(text)), "on");
		assert_int_equal(cor_mechanism_require(&m, i, "it", NULL), 0);
	}
}

static void test_each_reason_is_told(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_mechanisms m;

	cor_mechanisms_init(&m, 1u << COR_MECHANISM_FILES, 1u << COR_MECHANISM_PIPES);
	offer_all(&m);
	cor_mechanisms_offered(&m, "tcp", 7);
	cor_mechanisms_offered(&m, "udp", 0);
	cor_mechanisms_offered(&m, "unheard-of", 1);
	assert_int_equal(cor_mechanisms_settle(&m, "B", NULL), 0);
	assert_true(cor_mechanism_on(&m, COR_MECHANISM_EVENTS));

	assert_int_equal(cor_mechanism_require(&m, COR_MECHANISM_FILES, "it", &err), -EOPNOTSUPP);
	assert_mentions(err.text, "it needs the mechanism files, which is switched off on this host");
	assert_int_equal(cor_mechanism_require(&m, COR_MECHANISM_PIPES, "it", &err), -EOPNOTSUPP);
	assert_mentions(err.text, "mechanism pipes, which this migration goes without");
	assert_int_equal(cor_mechanism_require(&m, COR_MECHANISM_TCP, "it", &err), -EOPNOTSUPP);
	assert_mentions(err.text, "mechanism tcp, which B has in version 7");
	assert_int_equal(cor_mechanism_require(&m, COR_MECHANISM_UDP, "it", &err), -EOPNOTSUPP);
	assert_mentions(err.text, "mechanism udp, which B does not have");
}

static void test_essential_ones_must_agree(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_mechanisms m;

	/* they cannot be switched off either */
	cor_mechanisms_init(&m, ~0u, ~0u);
	assert_true(cor_mechanism_on(&m, COR_MECHANISM_PAGING));
	offer_all(&m);
	cor_mechanisms_offered(&m, "task", 99);
	assert_int_equal(cor_mechanisms_settle(&m, "B", &err), -EPROTONOSUPPORT);
	assert_mentions(err.text, "mechanism task: B has version 99");
}

static void test_list_is_read(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	cor_mechanism_set set = 77;
	char names[256];

	assert_int_equal(cor_mechanisms_parse("files,sockets", &set, NULL), 0);
	assert_int_equal(set, 1u << COR_MECHANISM_FILES | 1u << COR_MECHANISM_SOCKETS);
	assert_int_equal(cor_mechanisms_parse("", &set, NULL), 0);
	assert_int_equal(set, 0);
	set = 77;
	assert_int_equal(cor_mechanisms_parse("files,,udp", &set, &err), -EINVAL);
	assert_int_equal(cor_mechanisms_parse("Files", &set, &err), -EINVAL);
	assert_mentions(err.text, "\"Files\"");
	assert_mentions(err.text, "sockets");
	assert_int_equal(cor_mechanisms_parse("paging", &set, &err), -EINVAL);
	assert_mentions(err.text, "nothing moves without the mechanism paging");
	assert_int_equal(set, 77);
	assert_null(strstr(cor_mechanisms_optional(names, sizeof(names)), "paging"));
}

/* Descriptor 0 is of that kind alone. */
static void own_file(void)
{
	HOLDS(open(fixture_path("file"), O_CREAT | O_RDWR, 0600) == 0);
}

static void own_fifo(void)
{
	HOLDS(mkfifo(fixture_path("fifo"), 0600) == 0);
	HOLDS(open(fixture_path("fifo"), O_RDWR) == 0);
}

static void own_null(void)
{
	HOLDS(open("/dev/null", O_RDWR) == 0);
}

static int capture_without(void (*setup)(void), cor_mechanism_set off, struct cor_error *err)
{
	struct subject s = subject_start(setup, NULL);
	struct cor_files_object *extra = NULL;
	Cor__Names__FileTable *table = NULL;
	struct cor_mechanisms m;
	const struct cor_files_options o = { .with_content = true, .mechanisms = &m };
	unsigned nextra = 0;
	int rc;

	cor_mechanisms_init(&m, 0, off);
	rc = cor_files_capture_with(s.pid, &o, &extra, &nextra, &table, err);
	subject_kill(&s);
	if (rc == 0) {
		struct cor_mechanisms none;

		/* the destination looks as well */
		assert_int_equal(cor_files_permitted(table, &m, NULL), 0);
		cor_mechanisms_init(&none, ~0u, 0);
		rc = cor_files_permitted(table, &none, err);
		cor__names__file_table__free_unpacked(table, NULL);
	}
	free(extra);
	return rc;
}

static void test_capture_refuses_what_is_off(void **state)
{
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(capture_without(own_file, 1u << COR_MECHANISM_FILES, &err), -EOPNOTSUPP);
	assert_mentions(err.text, "descriptor 0 (");
	assert_mentions(err.text, "/file) needs the mechanism files, which this migration goes without");
	assert_int_equal(capture_without(own_fifo, 1u << COR_MECHANISM_PIPES, &err), -EOPNOTSUPP);
	assert_mentions(err.text, "/fifo) needs the mechanism pipes");
}

static void test_destination_refuses_what_is_off_there(void **state)
{
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(capture_without(own_file, 1u << COR_MECHANISM_PIPES, &err), -EOPNOTSUPP);
	assert_mentions(err.text, "/file) needs the mechanism files, which is switched off on this");
}

static void test_devices_need_none_of_them(void **state)
{
	assert_int_equal(capture_without(own_null, ~0u, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_are_on_between_equals),
		cmocka_unit_test(test_each_reason_is_told),
		cmocka_unit_test(test_essential_ones_must_agree),
		cmocka_unit_test(test_list_is_read),
		FILES_TEST(test_capture_refuses_what_is_off),
		FILES_TEST(test_destination_refuses_what_is_off_there),
		FILES_TEST(test_devices_need_none_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
