/* What a peer may send: whose tasks, with which groups and capabilities. A task arrives as
 * the user it left as, or not at all. */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/destination/destination.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define CAPABILITIES 64u

static const char *user_name(uint32_t uid, char *buf, size_t size)
{
	const struct passwd *pw = getpwuid(uid);

	snprintf(buf, size, pw ? "%u (%s)" : "%u, who is not known here", uid, pw ? pw->pw_name : "");
	return buf;
}

static const char *group_name(uint32_t gid, char *buf, size_t size)
{
	const struct group *gr = getgrgid(gid);

	snprintf(buf, size, gr ? "%u (%s)" : "%u", gid, gr ? gr->gr_name : "");
	return buf;
}

static int check_users(const struct cord_peer *peer, const Cor__Task__Credentials *c,
		       struct cor_error *err)
{
	const uint32_t uids[] = { c->uid, c->euid, c->suid, c->fsuid };
	char name[64];

	for (unsigned i = 0; i < ARRAY_SIZE(uids); i++)
		if (!cord_ids_have(&peer->users, uids[i]))
			return cor_fail(err, -EPERM, "peer %s may not send tasks of user %s",
					peer->name, user_name(uids[i], name, sizeof(name)));
	return 0;
}

/* The groups that the user has on this host; *n is 0 where there is no such user. */
static gid_t *own_groups(uint32_t uid, int *n)
{
	const struct passwd *pw = getpwuid(uid);
	gid_t *list = NULL, *more;

	*n = 0;
	if (!pw)
		return NULL;
	*n = 32;
	for (int tries = 0; tries < 4; tries++) {
		more = reallocarray(list, (size_t)*n, sizeof(*list));
		if (!more)
			break;
		list = more;
		if (getgrouplist(pw->pw_name, pw->pw_gid, list, n) >= 0)
			return list;
	}
	free(list);
	*n = 0;
	return NULL;
}

static bool in_list(const gid_t *list, int n, uint32_t gid)
{
	for (int i = 0; i < n; i++)
		if (list[i] == gid)
			return true;
	return false;
}

static int check_groups(const struct cord_peer *peer, const Cor__Task__Credentials *c,
			struct cor_error *err)
{
	const uint32_t gids[] = { c->gid, c->egid, c->sgid, c->fsgid };
	_cleanup_free_ gid_t *own = NULL;
	char group[64], user[64];
	int n;

	own = own_groups(c->uid, &n);
	for (size_t i = 0; i < ARRAY_SIZE(gids) + c->n_groups; i++) {
		uint32_t gid = i < ARRAY_SIZE(gids) ? gids[i] : c->groups[i - ARRAY_SIZE(gids)];

		if (!in_list(own, n, gid) && !cord_ids_have(&peer->groups, gid))
			return cor_fail(err, -EPERM, "peer %s may not send tasks with group %s, which "
					"user %s does not have here", peer->name,
					group_name(gid, group, sizeof(group)),
					user_name(c->uid, user, sizeof(user)));
	}
	return 0;
}

static int check_capabilities(const struct cord_peer *peer, const Cor__Task__Credentials *c,
			      struct cor_error *err)
{
	uint64_t more = (c->cap_permitted | c->cap_effective | c->cap_inheritable | c->cap_ambient) &
			~peer->capabilities;

	for (unsigned cap = 0; cap < CAPABILITIES; cap++)
		if (more >> cap & 1)
			return cor_fail(err, -EPERM, "peer %s may not send tasks with the capability %s",
					peer->name, capng_capability_to_name(cap) ?: "of an unknown number");
	return 0;
}

static bool any_root(const Cor__Task__Credentials *c)
{
	return !c->uid || !c->euid || !c->suid || !c->fsuid;
}

static int check(const struct cord_peer *peer, const Cor__Task__Credentials *c,
		 struct cor_error *err)
{
	int r = check_users(peer, c, err);

	/* who may send root's tasks may send anything */
	if (r < 0 || any_root(c))
		return r;
	r = check_groups(peer, c, err);
	return r < 0 ? r : check_capabilities(peer, c, err);
}

static bool same(const Cor__Task__Credentials *a, const Cor__Task__Credentials *b)
{
	return a->uid == b->uid && a->euid == b->euid && a->suid == b->suid &&
	       a->fsuid == b->fsuid && a->gid == b->gid && a->egid == b->egid &&
	       a->sgid == b->sgid && a->fsgid == b->fsgid &&
	       a->cap_permitted == b->cap_permitted && a->cap_effective == b->cap_effective &&
	       a->cap_inheritable == b->cap_inheritable && a->cap_ambient == b->cap_ambient &&
	       a->n_groups == b->n_groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)));
}

/* Has that been looked at already? Asking for users and groups takes time, and the second
 * look is inside the freeze. */
static bool known(const struct destination *d, const Cor__Task__Image *image, size_t thread)
{
	const Cor__Task__Credentials *c = image->threads[thread]->creds;

	if (thread && same(c, image->threads[thread - 1]->creds))
		return true;
	for (size_t i = 0; d->skeleton && image == d->image && i < d->skeleton->n_threads; i++)
		if (same(c, d->skeleton->threads[i]->creds))
			return true;
	return false;
}

/* The names of files, sockets and so on in the image are the peer's as well: what it may not
 * do as one of its users, our rights shall not do for it. */
static void limit(struct destination *d, const Cor__Task__Credentials *c)
{
	d->limited = !cord_ids_have(&d->peer->users, 0);
	d->as = (struct cor_as_user){ .uid = c->fsuid, .gid = c->fsgid, .groups = c->groups,
				      .ngroups = c->n_groups };
}

/* A directory that the task can be in only because it was somebody else once is not for it. */
static int check_directory(const struct destination *d, const Cor__Task__Image *image,
			   struct cor_error *err)
{
	_cleanup_free_ char *inside = NULL;
	struct cor_as_user_saved saved;
	int fd, r;

	if (!d->limited || !image->identity->cwd[0])
		return 0;
	/* to be in it takes as much as to look something up there */
	if (asprintf(&inside, "%s/.", image->identity->cwd) < 0)
		return cor_fail(err, -ENOMEM, "out of memory");
	r = destination_as_user(d, &saved, err);
	if (r < 0)
		return r;
	fd = open(inside, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		r = cor_fail_errno(err, "the working directory %s", image->identity->cwd);
	else
		close(fd);
	cor_as_user_end(&saved);
	return r;
}

int destination_as_user(const struct destination *d, struct cor_as_user_saved *saved,
			struct cor_error *err)
{
	return cor_as_user_begin(saved, d->limited ? &d->as : NULL, err);
}

int destination_permit(struct destination *d, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < image->n_threads && d->peer && r == 0; i++) {
		if (!image->threads[i]->creds)
			return cor_fail(err, -EPROTO, "the peer does not say whose task it sends");
		if (!known(d, image, i))
			r = check(d->peer, image->threads[i]->creds, err);
	}
	if (r == 0 && d->peer) {
		limit(d, image->threads[0]->creds);
		r = check_directory(d, image, err);
	}
	return r;
}
