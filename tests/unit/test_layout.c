/* Address ranges: holes, and the checks of a peer's image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcor/task/layout.h"

static void hole_keeps_its_margin(void **state)
{
	struct cor_layout l = { 0 };
	uint64_t at;

	assert_int_equal(cor_layout_add(&l, 0x500000000000, 0x7ffffff00000, COR_RANGE_OTHER), 0);
	assert_int_equal(cor_layout_add(&l, 0x10000, 0x20000, COR_RANGE_OTHER), 0);
	at = cor_layout_hole(&l, 0x4000, 1u << 20);
	assert_true(at && at % 4096 == 0);
	assert_true(at + 0x4000 + (1u << 20) <= 0x500000000000);
	cor_layout_clear(&l);
}

static void hole_between_overlapping_ranges(void **state)
{
	struct cor_layout l = { 0 };

	assert_int_equal(cor_layout_add(&l, 0x10000, 0x7fffff000000, COR_RANGE_OTHER), 0);
	assert_int_equal(cor_layout_add(&l, 0x20000, 0x30000, COR_RANGE_OTHER), 0);
	assert_int_equal(cor_layout_add(&l, 0x7fffff100000, 0x7fffffffe000, COR_RANGE_OTHER), 0);
	assert_int_equal(cor_layout_hole(&l, 0x2000, 0), 0x7fffff0fe000);
	assert_int_equal(cor_layout_hole(&l, 0x200000, 0), 0);
	cor_layout_clear(&l);
}

/* A task of two mappings, the second of which ends at end, and something at next. */
static uint64_t hole_behind(uint64_t end, uint64_t next, uint64_t brk)
{
	Cor__Task__Vma v[2] = { COR__TASK__VMA__INIT, COR__TASK__VMA__INIT }, *vmas[] = { &v[0], &v[1] };
	Cor__Task__Memory m = COR__TASK__MEMORY__INIT;
	struct cor_layout l = { 0 };
	uint64_t at;

	v[0].start = 0x400000;
	v[0].end = 0x500000;
	v[1].start = end - 0x2000;
	v[1].end = end;
	m.vmas = vmas;
	m.n_vmas = 2;
	m.start_brk = brk;
	assert_int_equal(cor_layout_add(&l, next, next + 0x1000, COR_RANGE_OTHER), 0);
	assert_int_equal(cor_layout_add_image(&l, &m), 0);
	at = cor_layout_hole_behind(&l, &m, 0x41000, 1u << 20);
	cor_layout_clear(&l);
	return at;
}

static void hole_behind_shares_the_page_table(void **state)
{
	/* the highest mapping that has room */
	assert_int_equal(hole_behind(0x7f0000043000, 0x7f0001000000, 0x600000), 0x7f0000044000);
	/* not where it would reach into the next page table, */
	assert_int_equal(hole_behind(0x7f00001c3000, 0x7f0001000000, 0x600000), 0x501000);
	/* nor where that has just begun: the mapping's own lies before it */
	assert_int_equal(hole_behind(0x7f0000200000, 0x7f0001000000, 0x600000), 0x501000);
}

static void hole_behind_leaves_room_to_grow(void **state)
{
	/* what comes next may be a stack, which grows down */
	assert_int_equal(hole_behind(0x7f0000043000, 0x7f0000100000, 0x600000), 0x501000);
	assert_int_equal(hole_behind(0x7f0000043000, 0x7f0000185000, 0x600000), 0x7f0000044000);
	/* the heap grows up; it may be empty still */
	assert_int_equal(hole_behind(0x7f0000043000, 0x7f0001000000, 0x7f0000042000), 0x501000);
	assert_int_equal(hole_behind(0x7f0000043000, 0x7f0001000000, 0x7f0000043000), 0x501000);
	/* nothing is left */
	assert_int_equal(hole_behind(0x7f0000043000, 0x7f0000100000, 0x500000), 0);
}

static void own_maps_have_a_vdso(void **state)
{
	struct cor_layout l = { 0 };
	uint64_t start = 0, end = 0;

	assert_int_equal(cor_layout_read(&l, getpid(), NULL), 0);
	assert_true(cor_layout_vdso(&l, &start, &end));
	assert_true(end > start);
	cor_layout_clear(&l);
}

struct peer {
	Cor__Task__Memory m;
	Cor__Task__Vma v[2], *vmas[2];
	Cor__Task__Run run, *runs[1];
};

static void make_peer(struct peer *p)
{
	p->m = (Cor__Task__Memory)COR__TASK__MEMORY__INIT;
	for (int i = 0; i < 2; i++) {
		p->v[i] = (Cor__Task__Vma)COR__TASK__VMA__INIT;
		p->v[i].start = 0x10000u * (unsigned)(i + 1);
		p->v[i].end = p->v[i].start + 0x2000;
		p->vmas[i] = &p->v[i];
	}
	p->run = (Cor__Task__Run)COR__TASK__RUN__INIT;
	p->run.start = p->v[0].start;
	p->run.npages = 2;
	p->runs[0] = &p->run;
	p->v[0].written = p->runs;
	p->v[0].n_written = 1;
	p->m.vmas = p->vmas;
	p->m.n_vmas = 2;
}

static int verdict(const struct peer *p)
{
	struct cor_error err = COR_ERROR_INIT;
	int r = cor_layout_check(&p->m, 0x10000, &err);

	assert_true(r == 0 || err.text[0]);
	return r;
}

static void good_image_passes(void **state)
{
	struct peer p;

	make_peer(&p);
	assert_int_equal(verdict(&p), 0);
}

static void overlap_is_refused(void **state)
{
	struct peer p;

	make_peer(&p);
	p.v[1].start = p.v[0].end - 0x1000;
	assert_int_equal(verdict(&p), -EPROTO);
}

static void kernel_address_is_refused(void **state)
{
	struct peer p;

	make_peer(&p);
	p.v[1].end = 0xffff800000000000;
	assert_int_equal(verdict(&p), -EPROTO);
}

static void lowest_addresses_are_refused(void **state)
{
	struct peer p;

	make_peer(&p);
	p.v[0].start = 0;
	p.v[0].n_written = 0;
	assert_int_equal(verdict(&p), -EPROTO);
	p.v[0].start = 0xf000;
	assert_int_equal(verdict(&p), -EPROTO);
	p.v[0].start = 0x10000;
	assert_int_equal(verdict(&p), 0);
}

static void low_addresses_are_as_the_host_has_it(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct peer p;

	make_peer(&p);
	p.v[0].start = 0x1000;
	p.v[0].n_written = 0;
	assert_int_equal(cor_layout_check(&p.m, 0x1000, &err), 0);
	assert_int_equal(cor_layout_check(&p.m, 0x2000, &err), -EPROTO);
	assert_non_null(strstr(err.text, "0x1000"));
	assert_non_null(strstr(err.text, "vm.mmap_min_addr"));
	assert_true(cor_layout_lowest() >= 0x1000);
}

static void unaligned_address_is_refused(void **state)
{
	struct peer p;

	make_peer(&p);
	p.v[1].start += 8;
	assert_int_equal(verdict(&p), -EPROTO);
}

static void unknown_file_is_refused(void **state)
{
	struct peer p;

	make_peer(&p);
	p.v[1].kind = COR__TASK__VMA_KIND__FILE_PRIVATE;
	assert_int_equal(verdict(&p), -EPROTO);
}

static void unknown_object_is_refused(void **state)
{
	struct peer p;

	make_peer(&p);
	p.v[1].kind = COR__TASK__VMA_KIND__SHMEM;
	p.v[1].object = 1;
	assert_int_equal(verdict(&p), -EPROTO);
}

static void more_objects_than_a_lane_can_name_are_refused(void **state)
{
	static Cor__Task__Object objects[UINT16_MAX + 1u], *list[UINT16_MAX + 1u];
	struct peer p;

	make_peer(&p);
	for (uint32_t i = 0; i < UINT16_MAX + 1u; i++) {
		objects[i] = (Cor__Task__Object)COR__TASK__OBJECT__INIT;
		objects[i].id = i + 1;
		list[i] = &objects[i];
	}
	p.m.objects = list;
	p.m.n_objects = UINT16_MAX;
	assert_int_equal(verdict(&p), 0);
	p.m.n_objects++;
	assert_int_equal(verdict(&p), -EPROTO);
}

static void run_outside_its_mapping_is_refused(void **state)
{
	struct peer p;

	make_peer(&p);
	p.run.npages = 3;
	assert_int_equal(verdict(&p), -EPROTO);
	p.run.npages = 1;
	p.run.start = p.v[1].start;
	assert_int_equal(verdict(&p), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hole_keeps_its_margin),
		cmocka_unit_test(hole_between_overlapping_ranges),
		cmocka_unit_test(hole_behind_shares_the_page_table),
		cmocka_unit_test(hole_behind_leaves_room_to_grow),
		cmocka_unit_test(own_maps_have_a_vdso),
		cmocka_unit_test(good_image_passes),
		cmocka_unit_test(overlap_is_refused),
		cmocka_unit_test(kernel_address_is_refused),
		cmocka_unit_test(lowest_addresses_are_refused),
		cmocka_unit_test(low_addresses_are_as_the_host_has_it),
		cmocka_unit_test(unaligned_address_is_refused),
		cmocka_unit_test(unknown_file_is_refused),
		cmocka_unit_test(unknown_object_is_refused),
		cmocka_unit_test(more_objects_than_a_lane_can_name_are_refused),
		cmocka_unit_test(run_outside_its_mapping_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
