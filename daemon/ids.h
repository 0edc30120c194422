/* Sets of user or group IDs, as the configuration lists them: "root, alice, 1000-1999" or
 * "*" for all. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#define CORD_IDS_MAX 16

struct cord_ids {
	unsigned n;
	struct { uint32_t from, to; } range[CORD_IDS_MAX];
};

/* Reads a list; group: names are of groups. -EINVAL, -ENOENT (no such name here), -E2BIG,
 * with the word that is wrong in bad. *out is untouched on failure. */
int  cord_ids_parse(const char *list, bool group, struct cord_ids *out, const char **bad,
		    unsigned *bad_len);
bool cord_ids_have(const struct cord_ids *ids, uint32_t id);
