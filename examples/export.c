/* Exports an array of numbers, prints its ticket, and serves until its input
 * ends: ./export 100000000 | ./import is a table of 800 MB that is read at once. */
#include <cor/export.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	size_t size = (count * sizeof(uint64_t) + COR_PAGE_SIZE - 1) / COR_PAGE_SIZE * COR_PAGE_SIZE;
	struct cor_error err = COR_ERROR_INIT;
	struct cor_export *e;
	uint64_t *table;
	char c;

	table = count ? aligned_alloc(COR_PAGE_SIZE, size) : NULL;
	if (!table) {
		fprintf(stderr, "no memory for %zu numbers\n", count);
		return 1;
	}
	for (size_t i = 0; i < size / sizeof(*table); i++)
		table[i] = i * i;
	if (cor_export_memory(&e, table, size, NULL, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	puts(cor_export_ticket(e));
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	cor_export_close(e);
	free(table);
	return 0;
}
