/* timerfd_create(2), signalfd(2) and pidfds of the task itself: all
 * that they are stands in fdinfo (proc_pid_fdinfo(5)). */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"

/* How late an interrupt may be; in a virtual machine, most of all. */
#define DUE_NS 5000000ull
#define LOOKS  4u
#define NS 1000000000ull

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	if (cor_file_link_is(seen, "anon_inode:[timerfd]"))
		return COR__NAMES__FILE_KIND__TIMERFD;
	if (cor_file_link_is(seen, "anon_inode:[signalfd]"))
		return COR__NAMES__FILE_KIND__SIGNALFD;
	if (cor_file_link_is(seen, "anon_inode:[pidfd]") || cor_file_link_is(seen, "pidfd:["))
		return COR__NAMES__FILE_KIND__PIDFD_SELF;
	return -1;
}

/* Fails for a key that this kernel's fdinfo lacks. */
static int number(const struct cor_file_seen *seen, const char *key, int base, uint64_t *out,
		  struct cor_error *err)
{
	int rc = cor_fdinfo_u64(seen->info, key, base, out);

	return rc < 0 ? cor_fail(err, -EOPNOTSUPP, "descriptor %d is %s, and this kernel's fdinfo "
				 "does not tell its \"%s\"", seen->fd, seen->link, key) : 0;
}

static uint64_t ns_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NS + (uint64_t)ts->tv_nsec;
}

/* One that is due, but whose interrupt has not come yet, has nothing left, as one that is not set:
 * for that there is an interval here, it is looked at again for a while. */
static int read_timer(const struct cor_file_seen *seen, struct itimerspec *its,
		      struct cor_error *err)
{
	const struct timespec nap = { .tv_nsec = DUE_NS / 20 };
	uint64_t until = cor_now_ns() + DUE_NS;

	for (;;) {
		if (timerfd_gettime(seen->dup, its) < 0)
			return cor_fail_errno(err, "descriptor %d: its timer", seen->fd);
		if (ns_of(&its->it_value) || !ns_of(&its->it_interval) || cor_now_ns() > until)
			return 0;
		nanosleep(&nap, NULL);
	}
}

static int read_ticks(struct cor_file_capture *c, const struct cor_file_seen *seen,
		      Cor__Names__OpenFile *out, struct cor_error *err)
{
	_cleanup_free_ char *info = NULL;
	struct cor_file_seen now = *seen;
	uint64_t clock, flags;
	char path[48];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)c->pid, seen->fd);
	rc = cor_slurp(AT_FDCWD, path, &info, NULL);
	if (rc < 0)
		return cor_fail_code(err, rc, "descriptor %d: its timer", seen->fd);
	now.info = info;
	rc = number(&now, "clockid:", 10, &clock, err);
	if (rc == 0)
		rc = number(&now, "ticks:", 10, &out->ticks, err);
	if (rc == 0)
		rc = number(&now, "settime flags:", 8, &flags, err);
	if (rc < 0)
		return rc;
	out->clock = (int32_t)clock;
	out->settime_flags = (uint32_t)flags;
	return 0;
}

/* Has it ended between the two? */
static bool ended(const struct itimerspec *before, const struct itimerspec *after)
{
	return ns_of(&after->it_value) > ns_of(&before->it_value) ||
	       (ns_of(&before->it_value) && !ns_of(&after->it_value));
}

/* What is left and what has been counted must be of one moment: a timer with both would count
 * its end twice. It is asked first, since one with an interval counts when it is asked; those
 * of a few microseconds never hold still. */
static int capture_timerfd(struct cor_file_capture *c, const struct cor_file_seen *seen,
			   Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct itimerspec before = { 0 }, its = { 0 };

	for (unsigned i = 0; i < LOOKS; i++) {
		int rc = read_timer(seen, &before, err);

		if (rc == 0)
			rc = read_ticks(c, seen, out, err);
		if (rc == 0)
			rc = read_timer(seen, &its, err);
		if (rc < 0)
			return rc;
		if (!ended(&before, &its))
			break;
	}
	out->value_ns = ns_of(&its.it_value);
	out->interval_ns = ns_of(&its.it_interval);
	if (out->settime_flags & TFD_TIMER_CANCEL_ON_SET)
		return cor_file_refuse(err, seen, "a timerfd that a change of the clock cancels "
				       "(TFD_TIMER_CANCEL_ON_SET): that is not carried");
	return 0;
}

static int capture_pidfd(struct cor_file_capture *c, const struct cor_file_seen *seen,
			 struct cor_error *err)
{
	uint64_t pid;
	int rc = number(seen, "Pid:", 10, &pid, err);

	if (rc == 0 && (pid_t)pid != c->pid)
		return cor_file_refuse(err, seen, "a pidfd of process %d: only those of the task "
				       "itself are carried", (int)pid);
	return rc;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	switch (out->kind) {
	case COR__NAMES__FILE_KIND__TIMERFD:
		return capture_timerfd(c, seen, out, err);
	case COR__NAMES__FILE_KIND__SIGNALFD:
		return number(seen, "sigmask:", 16, &out->sigmask, err);
	default:
		return capture_pidfd(c, seen, err);
	}
}

/* The last look at one without an interval that had neither time left nor ticks: its interrupt
 * may have come since. */
static int relate(struct cor_file_capture *c, unsigned index, struct cor_error *err)
{
	Cor__Names__OpenFile *file = c->table->files[index];

	if (file->kind != COR__NAMES__FILE_KIND__TIMERFD || c->options->ahead ||
	    file->value_ns || file->interval_ns || file->ticks)
		return 0;
	return read_ticks(c, &c->seen[index], file, err);
}

/* --- the destination --------------------------------------------------------- */

/* The time that is left starts again here; an absolute timer stays one, so that
 * it follows the clock when that is set. */
static void timer_value(const Cor__Names__OpenFile *file, struct itimerspec *its)
{
	uint64_t value = file->value_ns;
	struct timespec now;

	if (value && (file->settime_flags & TFD_TIMER_ABSTIME)) {
		clock_gettime(file->clock, &now);
		value += ns_of(&now);
	}
	its->it_value = (struct timespec){ (time_t)(value / NS), (long)(value % NS) };
	its->it_interval = (struct timespec){ (time_t)(file->interval_ns / NS),
					      (long)(file->interval_ns % NS) };
}

static int make_timerfd(const Cor__Names__OpenFile *file)
{
	uint64_t ticks = file->ticks;
	struct itimerspec its;
	int fd = timerfd_create(file->clock, TFD_CLOEXEC |
				(file->flags & O_NONBLOCK ? TFD_NONBLOCK : 0));

	if (fd < 0)
		return -1;
	timer_value(file, &its);
	if (timerfd_settime(fd, (int)(file->settime_flags & TFD_TIMER_ABSTIME), &its, NULL) < 0 ||
	    (ticks && ioctl(fd, TFD_IOC_SET_TICKS, &ticks) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int make_signalfd(const Cor__Names__OpenFile *file)
{
	sigset_t mask;

	sigemptyset(&mask);
	for (int sig = 1; sig <= 64; sig++)
		if (file->sigmask & (1ull << (sig - 1)))
			sigaddset(&mask, sig);
	return signalfd(-1, &mask, SFD_CLOEXEC | (file->flags & O_NONBLOCK ? SFD_NONBLOCK : 0));
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);

	switch (file->kind) {
	case COR__NAMES__FILE_KIND__TIMERFD:
		return cor_file_made(r, index, make_timerfd(file), "the timerfd", err);
	case COR__NAMES__FILE_KIND__SIGNALFD:
		return cor_file_made(r, index, make_signalfd(file), "the signalfd", err);
	default:
		return cor_file_made(r, index, (int)syscall(SYS_pidfd_open, getpid(),
							    file->flags & (O_NONBLOCK | O_EXCL)),
				     "the pidfd", err);
	}
}

const struct cor_file_ops cor_file_event = {
	.recognise = recognise,
	.capture   = capture,
	.relate    = relate,
	.restore   = restore,
	.mechanism = COR_MECHANISM_EVENTS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__TIMERFD | 1u << COR__NAMES__FILE_KIND__SIGNALFD |
		     1u << COR__NAMES__FILE_KIND__PIDFD_SELF,
};
