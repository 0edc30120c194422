/* The pager's journal: what it holds after its writer was killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/paging/journal.h"
#include "libcor/paging/pager.h"

struct fixture {
	struct cor_journal *writer, *reader;
	/* replayed: "MM:EVENT " each */
	char said[256];
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	*state = &f;
	return cor_journal_new(&f.writer, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cor_journal_free(f->writer);
	cor_journal_free(f->reader);
	return 0;
}

static int note(void *arg, uint32_t mm, const struct uffd_msg *m)
{
	struct fixture *f = arg;
	size_t at = strlen(f->said);

	snprintf(f->said + at, sizeof(f->said) - at, "%u:%x ", mm, m ? m->event : 0);
	return 0;
}

/* As another process would see it now. */
static const char *replayed(struct fixture *f)
{
	cor_journal_free(f->reader);
	f->reader = NULL;
	f->said[0] = 0;
	assert_int_equal(cor_journal_open(&f->reader, dup(cor_journal_fd(f->writer)), NULL), 0);
	assert_int_equal(cor_journal_replay(f->reader, note, f), 0);
	return f->said;
}

static void put(struct uffd_msg *room, unsigned i, unsigned event)
{
	memset(&room[i], 0, sizeof(room[i]));
	room[i].event = (uint8_t)event;
}

static void read_events(struct fixture *f, uint32_t mm, const unsigned char *events)
{
	struct uffd_msg *room = cor_journal_room(f->writer, mm, 8);
	bool keep = false;
	unsigned n = 0;

	for (; events[n]; n++) {
		put(room, n, events[n]);
		keep |= events[n] != UFFD_EVENT_PAGEFAULT;
	}
	cor_journal_read(f->writer, n, keep);
}

static const unsigned char faults[] = { UFFD_EVENT_PAGEFAULT, UFFD_EVENT_PAGEFAULT, 0 };
static const unsigned char removal[] = { UFFD_EVENT_REMOVE, 0 };
static const unsigned char mixed[] = { UFFD_EVENT_PAGEFAULT, UFFD_EVENT_UNMAP, UFFD_EVENT_FORK, 0 };

static void begin(struct fixture *f)
{
	assert_int_equal(cor_journal_snapshot(f->writer, "map", 3), 0);
}

static void without_a_snapshot_there_is_nothing_to_go_on_from(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_journal_open(&f->reader, dup(cor_journal_fd(f->writer)), NULL),
			 -ENODATA);
}

static void events_come_back_in_their_order_and_faults_do_not(void **state)
{
	struct fixture *f = *state;

	begin(f);
	read_events(f, 0, faults);
	read_events(f, 0, removal);
	read_events(f, 3, mixed);
	read_events(f, 0, faults);
	assert_string_equal(replayed(f), "0:15 3:16 3:13 ");
}

/* The writer was killed between read(2) and the next instruction. */
static void what_was_read_is_there_before_it_is_looked_at(void **state)
{
	struct fixture *f = *state;

	begin(f);
	read_events(f, 0, removal);
	put(cor_journal_room(f->writer, 2, 8), 0, UFFD_EVENT_FORK);
	assert_string_equal(replayed(f), "0:15 2:13 ");
}

static void room_that_nothing_was_read_into_is_no_event(void **state)
{
	struct fixture *f = *state;

	begin(f);
	read_events(f, 0, removal);
	cor_journal_room(f->writer, 2, 8);
	assert_string_equal(replayed(f), "0:15 ");
}

static void an_end_is_told_where_it_was(void **state)
{
	struct fixture *f = *state;

	begin(f);
	read_events(f, 1, removal);
	assert_true(cor_journal_closed(f->writer, 1));
	read_events(f, 0, removal);
	assert_string_equal(replayed(f), "1:15 1:0 0:15 ");
}

static void a_reader_goes_on_writing_behind_what_it_found(void **state)
{
	struct fixture *f = *state;

	begin(f);
	read_events(f, 1, removal);
	replayed(f);
	cor_journal_free(f->writer);
	f->writer = f->reader;
	f->reader = NULL;
	read_events(f, 0, mixed);
	assert_string_equal(replayed(f), "1:15 0:16 0:13 ");
}

static void a_snapshot_takes_the_place_of_the_events_before(void **state)
{
	struct fixture *f = *state;
	void *bytes;
	size_t len;

	begin(f);
	read_events(f, 0, removal);
	assert_int_equal(cor_journal_snapshot(f->writer, "second", 6), 0);
	read_events(f, 0, mixed);
	assert_string_equal(replayed(f), "0:16 0:13 ");
	assert_int_equal(cor_journal_snapshot(f->writer, "third", 5), 0);
	assert_string_equal(replayed(f), "");
	assert_int_equal(cor_journal_load(f->reader, &bytes, &len), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(bytes, "third", 5);
	free(bytes);
}

static void a_full_list_asks_for_a_snapshot(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	begin(f);
	while (cor_journal_room(f->writer, 0, 8) && n++ < 100000)
		read_events(f, 0, removal);
	assert_in_range(n, 100, 100000);
	while (cor_journal_closed(f->writer, 1) && n++ < 100000)
		;
	assert_in_range(n, 100, 100000);
	assert_int_equal(cor_journal_snapshot(f->writer, "x", 1), 0);
	assert_non_null(cor_journal_room(f->writer, 0, 8));
}

static void a_broken_journal_is_nothing_to_go_on_from(void **state)
{
	struct fixture *f = *state;

	begin(f);
	cor_journal_break(f->writer);
	assert_int_equal(cor_journal_open(&f->reader, dup(cor_journal_fd(f->writer)), NULL),
			 -ENODATA);
}

static void what_is_no_journal_is_refused(void **state)
{
	struct fixture *f = *state;
	int null = dup(STDERR_FILENO);

	assert_int_equal(cor_journal_open(&f->reader, null, NULL), -EPROTO);
}

static void bits_and_figures_are_there_for_the_next_one(void **state)
{
	struct fixture *f = *state;
	static struct cor_paging_stats st;
	uint64_t *mine, *theirs;

	begin(f);
	cor_journal_begin(f->writer, 42);
	assert_int_equal(cor_journal_have(f->writer, 1000, &mine), 0);
	mine[999] = 0x10;
	st.faults = 7;
	cor_journal_save(f->writer, &st);
	replayed(f);
	assert_int_equal(cor_journal_have(f->reader, 1000, &theirs), 0);
	assert_int_equal(theirs[999], 0x10);
	assert_int_equal(theirs[0], 0);
	memset(&st, 0, sizeof(st));
	cor_journal_saved(f->reader, &st);
	assert_int_equal(st.faults, 7);
	assert_int_equal(cor_journal_began(f->reader), 42);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(without_a_snapshot_there_is_nothing_to_go_on_from),
		TEST(events_come_back_in_their_order_and_faults_do_not),
		TEST(what_was_read_is_there_before_it_is_looked_at),
		TEST(room_that_nothing_was_read_into_is_no_event),
		TEST(an_end_is_told_where_it_was),
		TEST(a_reader_goes_on_writing_behind_what_it_found),
		TEST(a_snapshot_takes_the_place_of_the_events_before),
		TEST(a_full_list_asks_for_a_snapshot),
		TEST(a_broken_journal_is_nothing_to_go_on_from),
		TEST(what_is_no_journal_is_refused),
		TEST(bits_and_figures_are_there_for_the_next_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
