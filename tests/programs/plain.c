/* A plain computation, linked statically: no dynamic loader, no libc.so. Also
 * what is moved where the test is about something else. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	const size_t len = 1 << 20;
	unsigned char *data;
	uint64_t sum = 0, again;

	check_init(argc, argv, "plain");
	need((data = malloc(len)));
	check_fill(data, len, 1);
	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + data[i];
	while (!check_stopping()) {
		again = 0;
		for (size_t i = 0; i < len; i++)
			again = again * 31 + data[i];
		check(again == sum, "the sum changed");
		check_beat();
		check_sleep_ms(1);
	}
	check_done("sum %llx", (unsigned long long)sum);
}
