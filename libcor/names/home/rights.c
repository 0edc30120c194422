/* With whose rights a request is carried out. */
#include <errno.h>
#include <sys/fsuid.h>

#include "libcor/names/home/private.h"

/* What this thread has taken up. */
static __thread struct { bool set; uid_t uid; gid_t gid; } have;

int home_become(struct home_server *s, uint32_t uid, uint32_t gid)
{
	/* only root may be several; for all others the task's own is what there is */
	if (s->uid != 0) {
		uid = s->uid;
		gid = s->gid;
	}
	if (have.set && have.uid == uid && have.gid == gid)
		return 0;
	setfsgid(gid);
	setfsuid(uid);
	/* the calls tell what was before, and so whether they did anything */
	if ((gid_t)setfsgid((gid_t)-1) != gid || (uid_t)setfsuid((uid_t)-1) != uid) {
		have.set = false;
		return -EACCES;
	}
	have.set = true;
	have.uid = uid;
	have.gid = gid;
	return 0;
}
