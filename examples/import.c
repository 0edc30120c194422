/* Imports the array that export.c exports, and adds up a few of its numbers at
 * once: ./import TICKET. Only the pages that are touched come over; with a second
 * argument the rest follows in the background, and all of it is added up. */
#include <cor/import.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

static uint64_t sum(const uint64_t *table, size_t count, size_t step)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count; i += step)
		total += table[i];
	return total;
}

int main(int argc, char **argv)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_import_stats stats;
	const uint64_t *table;
	struct cor_import *in;
	struct cor_ctx *ctx;
	size_t count;

	if (argc < 2) {
		fprintf(stderr, "usage: %s TICKET [all]\n", argv[0]);
		return 2;
	}
	if (cor_open(&ctx, &err) < 0 || cor_import_open(&in, ctx, argv[1], NULL, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	table = cor_import_address(in);
	count = cor_import_size(in) / sizeof(*table);
	printf("every 65536th number: %" PRIu64 "\n", sum(table, count, 65536));
	if (argc > 2) {
		cor_import_prefetch(in, 1);
		printf("all of them: %" PRIu64 "\n", sum(table, count, 1));
	}
	cor_import_stats(in, &stats);
	printf("%" PRIu64 " pages came because they were touched, %" PRIu64 " ahead of that\n",
	       stats.pages_demand, stats.pages_prefetched);
	cor_import_close(in);
	cor_close(ctx);
	return 0;
}
