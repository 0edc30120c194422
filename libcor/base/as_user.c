/* See as_user.h. The system calls themselves: the C library's would change all threads. */
#include "libcor/base/as_user.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define GROUPS_MAX 65536

static const unsigned not_for_names[] = { CAP_NET_BIND_SERVICE, CAP_NET_RAW };

static int caps_get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &head, data) < 0 ? -errno : 0;
}

static int caps_set(const struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

/* Takes those away that are not for names, or gives them back. */
static int change_caps(struct cor_as_user_saved *saved, bool back)
{
	struct __user_cap_data_struct data[2];
	int r = caps_get(data);

	for (unsigned i = 0; i < ARRAY_SIZE(not_for_names) && r == 0; i++) {
		uint32_t *word = &data[not_for_names[i] / 32].effective;
		uint32_t bit = 1u << not_for_names[i] % 32;

		if (back && (saved->effective >> not_for_names[i] & 1))
			*word |= bit;
		if (!back && (*word & bit)) {
			saved->effective |= UINT64_C(1) << not_for_names[i];
			*word &= ~bit;
		}
	}
	return r == 0 ? caps_set(data) : r;
}

static int save_groups(struct cor_as_user_saved *saved)
{
	long n = syscall(SYS_getgroups, 0, NULL);

	if (n < 0)
		return -errno;
	saved->groups = calloc((size_t)n + 1, sizeof(*saved->groups));
	if (!saved->groups)
		return -ENOMEM;
	n = syscall(SYS_getgroups, n, saved->groups);
	saved->ngroups = n > 0 ? (size_t)n : 0;
	return n < 0 ? -errno : 0;
}

bool cor_as_user_is_us(const struct cor_as_user *user)
{
	struct cor_as_user_saved now = COR_AS_USER_SAVED_INIT;
	struct __user_cap_data_struct data[2] = { 0 };
	bool same = caps_get(data) == 0 && !data[0].effective && !data[1].effective &&
		    (uint32_t)syscall(SYS_setfsuid, -1) == user->uid &&
		    (uint32_t)syscall(SYS_setfsgid, -1) == user->gid &&
		    save_groups(&now) == 0 && now.ngroups == user->ngroups;

	for (size_t i = 0; same && i < user->ngroups; i++)
		same = now.groups[i] == user->groups[i];
	free(now.groups);
	return same;
}

int cor_as_user_begin(struct cor_as_user_saved *saved, const struct cor_as_user *user,
		      struct cor_error *err)
{
	int r;

	*saved = (struct cor_as_user_saved)COR_AS_USER_SAVED_INIT;
	if (!user || cor_as_user_is_us(user))
		return 0;
	r = save_groups(saved);
	if (r == 0 && user->ngroups > GROUPS_MAX)
		r = -EINVAL;
	if (r == 0 && syscall(SYS_setgroups, user->ngroups, user->groups) < 0)
		r = -errno;
	if (r < 0) {
		free(saved->groups);
		return cor_fail_code(err, r, "taking the file rights of user %u", user->uid);
	}
	saved->active = 1;
	saved->gid = (uint32_t)syscall(SYS_setfsgid, user->gid);
	saved->uid = (uint32_t)syscall(SYS_setfsuid, user->uid);
	/* these two tell no failure, but what they found */
	if ((uint32_t)syscall(SYS_setfsuid, -1) != user->uid ||
	    (uint32_t)syscall(SYS_setfsgid, -1) != user->gid)
		r = -EPERM;
	if (r == 0)
		r = change_caps(saved, false);
	if (r < 0) {
		cor_as_user_end(saved);
		return cor_fail_code(err, r, "taking the file rights of user %u", user->uid);
	}
	return 0;
}

void cor_as_user_end(struct cor_as_user_saved *saved)
{
	if (!saved->active)
		return;
	syscall(SYS_setfsuid, saved->uid);
	syscall(SYS_setfsgid, saved->gid);
	if ((uint32_t)syscall(SYS_setfsuid, -1) != saved->uid ||
	    (uint32_t)syscall(SYS_setfsgid, -1) != saved->gid ||
	    syscall(SYS_setgroups, saved->ngroups, saved->groups) < 0 ||
	    change_caps(saved, true) < 0)
		abort();
	free(saved->groups);
	*saved = (struct cor_as_user_saved)COR_AS_USER_SAVED_INIT;
}
