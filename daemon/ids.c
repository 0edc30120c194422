/* See ids.h. */
#include "daemon/ids.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64

/* A number without a sign, up to the end or a '-'. */
static bool number(const char **at, uint32_t *out)
{
	unsigned long v;
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	v = strtoul(*at, &end, 10);
	if (errno || v >= UINT32_MAX || (*end && *end != '-'))
		return false;
	*at = end;
	*out = (uint32_t)v;
	return true;
}

static bool range(const char *word, uint32_t *from, uint32_t *to)
{
	if (!number(&word, from))
		return false;
	*to = *from;
	if (*word == '-') {
		word++;
		if (!number(&word, to) || *to < *from)
			return false;
	}
	return *word == 0;
}

static int by_name(const char *word, bool group, uint32_t *id)
{
	const struct passwd *pw = group ? NULL : getpwnam(word);
	const struct group *gr = group ? getgrnam(word) : NULL;

	if (!pw && !gr)
		return -ENOENT;
	*id = pw ? pw->pw_uid : gr->gr_gid;
	return 0;
}

static int add(struct cord_ids *ids, const char *word, bool group)
{
	uint32_t from = 0, to = UINT32_MAX - 1;

	if (ids->n == CORD_IDS_MAX)
		return -E2BIG;
	if (strcmp(word, "*") != 0 && !range(word, &from, &to)) {
		if (word[0] >= '0' && word[0] <= '9')
			return -EINVAL;
		if (by_name(word, group, &from) < 0)
			return -ENOENT;
		to = from;
	}
	ids->range[ids->n].from = from;
	ids->range[ids->n++].to = to;
	return 0;
}

int cord_ids_parse(const char *list, bool group, struct cord_ids *out, const char **bad,
		   unsigned *bad_len)
{
	struct cord_ids ids = { 0 };

	while (*list) {
		size_t skip = strspn(list, ", \t"), len = strcspn(list + skip, ", \t");
		char word[WORD_MAX];
		int r;

		list += skip;
		*bad = list;
		*bad_len = (unsigned)len;
		if (len == 0)
			break;
		if (len >= sizeof(word))
			return -EINVAL;
		memcpy(word, list, len);
		word[len] = 0;
		r = add(&ids, word, group);
		if (r < 0)
			return r;
		list += len;
	}
	*out = ids;
	return 0;
}

bool cord_ids_have(const struct cord_ids *ids, uint32_t id)
{
	for (unsigned i = 0; i < ids->n; i++)
		if (id >= ids->range[i].from && id <= ids->range[i].to)
			return true;
	return false;
}
