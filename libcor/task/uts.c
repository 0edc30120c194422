/* See uts.h. */
#include "libcor/task/uts.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

void cor_uts_own(struct cor_uts *out)
{
	struct utsname u = { 0 };

	uname(&u);
	snprintf(out->node, sizeof(out->node), "%s", u.nodename);
	snprintf(out->domain, sizeof(out->domain), "%s", u.domainname);
}

bool cor_uts_differs(int proc)
{
	char theirs[64] = "", ours[64] = "";

	return readlinkat(proc, "ns/uts", theirs, sizeof(theirs) - 1) > 0 &&
	       readlink("/proc/thread-self/ns/uts", ours, sizeof(ours) - 1) > 0 &&
	       strcmp(theirs, ours) != 0;
}

int cor_uts_read(int proc, struct cor_uts *out, struct cor_error *err)
{
	_cleanup_close_ int ours = -1, theirs = -1;

	if (!cor_uts_differs(proc)) {
		cor_uts_own(out);
		return 0;
	}
	ours = open("/proc/thread-self/ns/uts", O_RDONLY | O_CLOEXEC);
	theirs = openat(proc, "ns/uts", O_RDONLY | O_CLOEXEC);
	if (ours < 0 || theirs < 0 || setns(theirs, CLONE_NEWUTS) < 0)
		return cor_fail_errno(err, "cannot enter the UTS namespace of the task");
	cor_uts_own(out);
	return setns(ours, CLONE_NEWUTS) < 0 ?
	       cor_fail_errno(err, "cannot leave the UTS namespace of the task") : 0;
}

int cor_uts_make(const struct cor_uts *names, struct cor_error *err)
{
	if (unshare(CLONE_NEWUTS) < 0)
		return cor_fail_errno(err, "cannot make a UTS namespace");
	if (sethostname(names->node, strlen(names->node)) < 0 ||
	    setdomainname(names->domain, strlen(names->domain)) < 0)
		return cor_fail_errno(err, "cannot set the host's name \"%s\"", names->node);
	return 0;
}

bool cor_uts_possible(void)
{
	return capng_get_caps_process() == 0 &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}
