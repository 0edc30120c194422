/* Imports over loopback TCP, against real exports (libcor/paging/import.c). */
#include <cor/export.h>
#include <cor/import.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/io.h"

#define P 4096ull
#define NPAGES 2048ull

struct fixture {
	struct cor_ctx *ctx;
	struct cor_export *exp;
	struct cor_import *imp;
	unsigned char *truth;
};

static unsigned char *anonymous(void)
{
	void *m = mmap(NULL, NPAGES * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(m != MAP_FAILED);
	return m;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));

	*state = f;
	assert_int_equal(cor_open(&f->ctx, NULL), 0);
	f->truth = anonymous();
	/* the last quarter is never touched */
	for (uint64_t i = 0; i < NPAGES * P / 8 * 3 / 4; i++)
		((uint64_t *)f->truth)[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
	assert_int_equal(cor_export_memory(&f->exp, f->truth, NPAGES * P, NULL, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cor_import_close(f->imp);
	cor_export_close(f->exp);
	munmap(f->truth, NPAGES * P);
	cor_close(f->ctx);
	test_free(f);
	return 0;
}

static void open_import(struct fixture *f, unsigned flags)
{
	struct cor_import_options o = { .flags = flags };

	assert_int_equal(cor_import_open(&f->imp, f->ctx, cor_export_ticket(f->exp), &o, NULL), 0);
	assert_int_equal(cor_import_size(f->imp), NPAGES * P);
}

static void touched_pages_come_over(void **state)
{
	struct fixture *f = *state;
	struct cor_import_stats st;
	unsigned char *mem;

	open_import(f, 0);
	mem = cor_import_address(f->imp);
	assert_memory_equal(mem + 17 * P, f->truth + 17 * P, P);
	mem[100 * P] = 0x42;
	assert_memory_equal(mem + 100 * P + 1, f->truth + 100 * P + 1, P - 1);
	assert_int_equal(mem[(NPAGES - 1) * P], 0);
	cor_import_stats(f->imp, &st);
	assert_int_equal(st.pages_demand, 2);
	assert_int_equal(st.complete, 0);
	/* the one for bulk comes a little later: what is touched at once goes first */
	while (st.connections < 2)
		cor_import_stats(f->imp, &st);
	assert_int_equal(st.connections, 2);
}

static void everything_comes_over(void **state)
{
	struct fixture *f = *state;
	struct cor_import_stats st;

	open_import(f, COR_IMPORT_PREFETCH);
	assert_int_equal(cor_import_wait(f->imp, 10000, NULL), 0);
	cor_import_stats(f->imp, &st);
	assert_int_equal(st.complete, 1);
	assert_int_equal(st.connections, 0);
	assert_int_equal(st.pages_total, NPAGES * 3 / 4);
	assert_memory_equal(cor_import_address(f->imp), f->truth, NPAGES * P);
}

static void export_encrypted(struct fixture *f)
{
	const struct cor_export_options o = { .flags = COR_EXPORT_ENCRYPT };

	cor_export_close(f->exp);
	f->exp = NULL;
	assert_int_equal(cor_export_memory(&f->exp, f->truth, NPAGES * P, &o, NULL), 0);
}

static void everything_comes_over_encrypted(void **state)
{
	struct fixture *f = *state;
	unsigned char *mem;

	export_encrypted(f);
	open_import(f, 0);
	mem = cor_import_address(f->imp);
	for (uint64_t i = 7; i < NPAGES; i += 97)
		assert_memory_equal(mem + i * P, f->truth + i * P, P);
	cor_import_prefetch(f->imp, 1);
	assert_int_equal(cor_import_wait(f->imp, 10000, NULL), 0);
	assert_memory_equal(mem, f->truth, NPAGES * P);
}

static void everything_comes_over_checked(void **state)
{
	struct fixture *f = *state;

	open_import(f, COR_IMPORT_PREFETCH | COR_IMPORT_CHECK);
	assert_int_equal(cor_import_wait(f->imp, 10000, NULL), 0);
	assert_memory_equal(cor_import_address(f->imp), f->truth, NPAGES * P);
}

static void touching_everything_is_having_everything(void **state)
{
	struct fixture *f = *state;

	open_import(f, 0);
	assert_memory_equal(cor_import_address(f->imp), f->truth, NPAGES * P);
	assert_int_equal(cor_import_wait(f->imp, 5000, NULL), 0);
}

static void wait_ends_in_time(void **state)
{
	struct fixture *f = *state;
	struct cor_error err = COR_ERROR_INIT;

	open_import(f, 0);
	assert_int_equal(cor_import_wait(f->imp, 1, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "not complete"));
	cor_import_prefetch(f->imp, 1);
	assert_int_equal(cor_import_wait(f->imp, 10000, NULL), 0);
}

static void the_caller_chooses_the_address(void **state)
{
	struct fixture *f = *state;
	struct cor_import_options o = { .address = anonymous() };
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_import_open(&f->imp, f->ctx, cor_export_ticket(f->exp), &o, &err), -EEXIST);
	munmap(o.address, NPAGES * P);
	assert_int_equal(cor_import_open(&f->imp, f->ctx, cor_export_ticket(f->exp), &o, &err), 0);
	assert_ptr_equal(cor_import_address(f->imp), o.address);
	assert_memory_equal(o.address, f->truth, P);
}

static void wrong_tickets_are_refused(void **state)
{
	struct fixture *f = *state;
	char ticket[512];
	char *secret;

	strcpy(ticket, cor_export_ticket(f->exp));
	secret = strrchr(ticket, ':') - 1;
	*secret = *secret == '0' ? '1' : '0';
	assert_int_equal(cor_import_open(&f->imp, f->ctx, ticket, NULL, NULL), -EPERM);
	assert_int_equal(cor_import_open(&f->imp, f->ctx, "nonsense", NULL, NULL), -EINVAL);
}

static void unknown_options_are_refused(void **state)
{
	struct fixture *f = *state;
	struct cor_import_options flags = { .flags = 1u << 31 }, reserved = { .reserved = { 1 } };
	const char *ticket = cor_export_ticket(f->exp);

	assert_int_equal(cor_import_open(&f->imp, f->ctx, ticket, &flags, NULL), -EINVAL);
	assert_int_equal(cor_import_open(&f->imp, f->ctx, ticket, &reserved, NULL), -EINVAL);
	assert_int_equal(cor_import_into(&f->imp, f->ctx, ticket, -1, NULL, NULL), -EINVAL);
}

/* The other process: lazy memory of its own, compared with the truth it inherited. */
static int other_process(struct fixture *f, int sock)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	unsigned char *mem = anonymous();
	char go;

	if (cor_send_fds(sock, &mem, sizeof(mem), &uffd, 1) < 0)
		return 2;
	close(uffd);
	if (cor_read_full(sock, &go, 1) < 0)
		return 3;
	/* it ends before it has all: that is not the same as having all */
	return memcmp(mem, f->truth, NPAGES / 2 * P) != 0;
}

static void another_process_can_be_the_importer(void **state)
{
	struct fixture *f = *state;
	struct cor_import_options o = { 0 };
	int pair[2], uffd, status;
	unsigned n = 1;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0)
		_exit(other_process(f, pair[1]));
	close(pair[1]);
	assert_int_equal(cor_recv_fds(pair[0], &o.address, sizeof(o.address), &uffd, &n),
			 sizeof(o.address));
	assert_int_equal(cor_import_into(&f->imp, f->ctx, cor_export_ticket(f->exp), uffd, &o, NULL), 0);
	assert_int_equal(cor_write_full(pair[0], "g", 1), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(cor_import_wait(f->imp, 5000, NULL), -ESRCH);
	close(pair[0]);
}

static void children_see_the_import(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	open_import(f, 0);
	pid = _Fork();
	if (pid == 0)
		_exit(memcmp(cor_import_address(f->imp), f->truth, NPAGES * P) != 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_memory_equal(cor_import_address(f->imp), f->truth, NPAGES * P);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(touched_pages_come_over), T(everything_comes_over),
		T(everything_comes_over_encrypted), T(everything_comes_over_checked),
		T(touching_everything_is_having_everything), T(wait_ends_in_time),
		T(the_caller_chooses_the_address), T(wrong_tickets_are_refused),
		T(unknown_options_are_refused), T(another_process_can_be_the_importer),
		T(children_see_the_import),
	};

	return cmocka_run_group_tests_name("import", tests, NULL, NULL);
}
