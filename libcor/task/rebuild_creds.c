/* A thread's credentials, made by the thread itself: they are only ever given up,
 * never gained (credentials(7), capabilities(7)). */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "libcor/base/error.h"
#include "libcor/task/rebuild_creds.h"

static uint64_t hex_line(const char *status, const char *key)
{
	const char *p = strstr(status, key);

	return p ? strtoull(p + strlen(key), NULL, 16) : 0;
}

static void ids_line(const char *status, const char *key, uint32_t id[4])
{
	const char *p = strstr(status, key);
	char *end;

	for (int i = 0; i < 4 && p; i++) {
		id[i] = (uint32_t)strtoul(i ? p : p + strlen(key), &end, 10);
		p = end;
	}
}

/* Group by group: the line lists them ascending, as the kernel keeps them. */
static bool same_groups(const char *status, const Cor__Task__Credentials *c)
{
	const char *p = strstr(status, "\nGroups:");
	const char *line_end;
	size_t n = 0;

	if (!p)
		return false;
	p += 8;
	line_end = strchrnul(p, '\n');
	for (;; n++) {
		char *end;
		unsigned long g;

		p += strspn(p, " \t");
		if (p >= line_end)
			break;
		g = strtoul(p, &end, 10);
		if (end == p || n == c->n_groups || c->groups[n] != g)
			return false;
		p = end;
	}
	return n == c->n_groups;
}

void cor_creds_read(struct cor_creds_now *now, const char *status)
{
	now->status = status;
	ids_line(status, "\nUid:", now->uid);
	ids_line(status, "\nGid:", now->gid);
	now->permitted = hex_line(status, "\nCapPrm:");
	now->bounding = hex_line(status, "\nCapBnd:");
	now->securebits = (uint32_t)prctl(PR_GET_SECUREBITS);
}

/* Nothing to do: the common case of root's task in root's daemon, and the only
 * one that a daemon without privileges can serve. */
static bool have_already(const struct cor_creds_now *now, const Cor__Task__Credentials *c)
{
	const uint32_t uid[4] = { c->uid, c->euid, c->suid, c->fsuid };
	const uint32_t gid[4] = { c->gid, c->egid, c->sgid, c->fsgid };

	return !memcmp(now->uid, uid, sizeof(uid)) && !memcmp(now->gid, gid, sizeof(gid)) &&
		same_groups(now->status, c) && now->securebits == c->securebits &&
		hex_line(now->status, "\nCapInh:") == c->cap_inheritable &&
		hex_line(now->status, "\nCapEff:") == (c->cap_effective & now->permitted) &&
		!(now->permitted & ~c->cap_permitted) && !(now->bounding & ~c->cap_bounding) &&
		hex_line(now->status, "\nCapAmb:") == c->cap_ambient;
}

static int add_capset(struct cor_batch *b, uint64_t permitted, uint64_t effective,
		      uint64_t inheritable, const char *what, struct cor_error *err)
{
	const struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ effective >> 32, permitted >> 32, inheritable >> 32 },
	};
	uint64_t h, d;
	int r = cor_batch_reserve(b, 1, sizeof(head) + sizeof(data) + 32, err);

	if (r == 0)
		r = cor_batch_data(b, &head, sizeof(head), &h, err);
	if (r == 0)
		r = cor_batch_data(b, data, sizeof(data), &d, err);
	if (r == 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_capset, COR_ARGS(h, d), err, "set %s", what);
	return r < 0 ? r : 0;
}

/* Who has all of the groups already may not be allowed to set them (user_namespaces(7)). */
static int add_groups(struct cor_batch *b, const struct cor_creds_now *now,
		      const Cor__Task__Credentials *c, struct cor_error *err)
{
	bool same = same_groups(now->status, c);
	uint64_t at = 0;
	int r = same ? 0 : cor_batch_data(b, c->groups, c->n_groups * sizeof(*c->groups), &at, err);

	if (r == 0 && !same)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_setgroups, COR_ARGS(c->n_groups, at), err,
				  "set %zu supplementary groups", c->n_groups);
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_setresgid, COR_ARGS(c->gid, c->egid, c->sgid),
				  err, "become group %u", c->gid);
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_ANY, SYS_setfsgid, COR_ARGS(c->fsgid), err, "set fsgid");
	return r < 0 ? r : 0;
}

/* What asks for privileges comes before the user IDs change. */
static int add_bounds(struct cor_batch *b, const struct cor_creds_now *now,
		      const Cor__Task__Credentials *c, uint64_t inheritable, struct cor_error *err)
{
	/* before the bounding set shrinks, which bounds what can be inherited */
	int r = add_capset(b, now->permitted, now->permitted, inheritable,
			   "the inheritable capabilities", err);

	for (unsigned cap = 0; cap < 64 && r >= 0; cap++)
		if (now->bounding >> cap & 1 && !(c->cap_bounding >> cap & 1))
			r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl, COR_ARGS(PR_CAPBSET_DROP, cap),
					  err, "drop capability %u from the bounding set", cap);
	return r < 0 ? r : 0;
}

static int add_users(struct cor_batch *b, const struct cor_creds_now *now,
		     const Cor__Task__Credentials *c, uint64_t inheritable, struct cor_error *err)
{
	int r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl, COR_ARGS(PR_SET_KEEPCAPS, 1), err,
			      "keep capabilities for the moment");

	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_setresuid, COR_ARGS(c->uid, c->euid, c->suid),
				  err, "become user %u", c->uid);
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_ANY, SYS_setfsuid, COR_ARGS(c->fsuid), err, "set fsuid");
	/* all effective again: the securebits want CAP_SETPCAP */
	if (r >= 0)
		r = add_capset(b, now->permitted, now->permitted, inheritable,
			       "the capabilities for the moment", err);
	return r < 0 ? r : 0;
}

static int add_final(struct cor_batch *b, const struct cor_creds_now *now,
		     const Cor__Task__Credentials *c, uint64_t inheritable, struct cor_error *err)
{
	uint64_t ambient = c->cap_ambient & now->permitted & inheritable;
	uint32_t keep = 1u << SECURE_KEEP_CAPS;
	int r = 0;

	/* first: a securebit may forbid to raise any */
	for (unsigned cap = 0; cap < 64 && r >= 0; cap++)
		if (ambient >> cap & 1)
			r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl,
					  COR_ARGS(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap), err,
					  "raise the ambient capability %u", cap);
	if (r >= 0 && (c->securebits & ~keep) != (now->securebits & ~keep))
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl, COR_ARGS(PR_SET_SECUREBITS, c->securebits),
				  err, "set the securebits %#x", c->securebits);
	else if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl,
				  COR_ARGS(PR_SET_KEEPCAPS, !!(c->securebits & keep)), err,
				  "set the securebits %#x", c->securebits);
	if (r >= 0)
		r = add_capset(b, c->cap_permitted & now->permitted,
			       c->cap_effective & c->cap_permitted & now->permitted, inheritable,
			       "the capabilities", err);
	return r < 0 ? r : 0;
}

int cor_creds_add(struct cor_batch *b, const struct cor_creds_now *now,
		  const Cor__Task__Credentials *c, struct cor_error *err)
{
	uint64_t inheritable = c->cap_inheritable & (now->permitted | now->bounding);
	int r = 0;

	if (!have_already(now, c)) {
		r = add_groups(b, now, c, err);
		if (r == 0)
			r = add_bounds(b, now, c, inheritable, err);
		if (r == 0)
			r = add_users(b, now, c, inheritable, err);
		if (r == 0)
			r = add_final(b, now, c, inheritable, err);
	}
	if (r == 0 && c->no_new_privs)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl, COR_ARGS(PR_SET_NO_NEW_PRIVS, 1), err,
				  "set no_new_privs");
	return r < 0 ? r : 0;
}

bool cor_creds_same(const Cor__Task__Credentials *a, const Cor__Task__Credentials *b)
{
	if (!a || !b)
		return a == b;
	return a->uid == b->uid && a->euid == b->euid && a->suid == b->suid && a->fsuid == b->fsuid &&
	       a->gid == b->gid && a->egid == b->egid && a->sgid == b->sgid && a->fsgid == b->fsgid &&
	       a->cap_inheritable == b->cap_inheritable && a->cap_permitted == b->cap_permitted &&
	       a->cap_effective == b->cap_effective && a->cap_bounding == b->cap_bounding &&
	       a->cap_ambient == b->cap_ambient && a->securebits == b->securebits &&
	       a->no_new_privs == b->no_new_privs && a->n_groups == b->n_groups &&
	       (!a->n_groups || memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)) == 0);
}
