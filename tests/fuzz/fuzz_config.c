/* cord's configuration file. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"
#include "tests/fuzz/fuzz.h"

static void check_texts(const struct cord_config *c)
{
	FUZZ_CHECK(memchr(c->name, 0, sizeof(c->name)));
	FUZZ_CHECK(memchr(c->listen, 0, sizeof(c->listen)));
	FUZZ_CHECK(memchr(c->control, 0, sizeof(c->control)));
	FUZZ_CHECK(memchr(c->state_dir, 0, sizeof(c->state_dir)));
	FUZZ_CHECK(c->paging.spin_us <= 10000);
	for (unsigned i = 0; i < c->npeers; i++) {
		const char *address = cord_config_peer(c, c->peers[i].name);

		FUZZ_CHECK(memchr(c->peers[i].name, 0, sizeof(c->peers[i].name)));
		/* one that only sends has none */
		FUZZ_CHECK(strcmp(address ?: "", c->peers[i].address) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("config", MFD_CLOEXEC);
	struct cor_error err = COR_ERROR_INIT;
	struct cord_config c, before;
	char path[64];
	int r;

	FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cord_config_init(&c);
	before = c;
	r = cord_config_load(&c, path, &err);
	close(fd);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && err.code == r && err.text[0]));
	FUZZ_CHECK(r == 0 || memcmp(&before, &c, sizeof(c)) == 0);
	if (r == 0)
		check_texts(&c);
	cord_config_clear(&c);
	return 0;
}
