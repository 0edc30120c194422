/* Private huge pages of hugetlbfs: written, read only, never touched, written anew in
 * every round; and a part that is let go and reads as zeros again. */
#include "check.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE (2ul << 20)

static unsigned char *map(unsigned pages)
{
	void *at = mmap(NULL, pages * HUGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (at == MAP_FAILED)
		check_skip("%u huge pages: %s", pages, strerror(errno));
	return at;
}

int main(int argc, char **argv)
{
	unsigned char *kept, *fresh, *sparse;
	uint64_t round = 0;

	check_init(argc, argv, "hugetlb");
	kept = map(2);
	sparse = map(2);
	fresh = map(1);
	check_fill(kept, 2 * HUGE, 1);
	mprotect(kept + HUGE, HUGE, PROT_READ);
	sparse[HUGE + 5] = 7;
	check_fill(fresh, HUGE, round);
	while (!check_stopping()) {
		check(check_differs(kept, 2 * HUGE, 1) < 0, "what was written once changed");
		check(sparse[0] == 0 && sparse[HUGE + 5] == 7 && sparse[HUGE + 4] == 0,
		      "what was hardly touched changed");
		check(check_differs(fresh, HUGE, round) < 0, "what was written last changed");
		check(!madvise(fresh, HUGE, MADV_DONTNEED) && fresh[HUGE / 2] == 0,
		      "what was let go is not zero");
		check_fill(fresh, HUGE, ++round);
		check_beat();
		check_sleep_ms(1);
	}
	check_done("%llu rounds", (unsigned long long)round);
}
