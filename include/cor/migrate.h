/* cor/migrate.h - a program that wants to know when it is moved.
 *
 * No program needs this: a task is moved without its knowledge. One that holds
 * something tied to its host (a connection to be closed first, a cached host
 * name, a tuned thread count) can ask to be told, if it was started by
 * `cor run`, which loads libcor-preload.so. The functions below look for that
 * library at run time, so the program links with nothing; started without it,
 * they say so (-ENOSYS, 0) and the program goes on as ever. Dynamically linked
 * programs only.
 *
 * How it works: the first cor_on_migrate() starts one thread (name "cor-hooks",
 * all signals blocked, 256 KiB of stack) that sleeps in a futex on a word of the
 * library, in whose data cord finds it. It changes the word and interrupts the thread, or moves the
 * task with the word changed; in both cases the kernel restarts the futex wait,
 * which sees the change and returns. No signal, descriptor or timer of the
 * program's is used, and nothing runs while no migration is under way.
 */
#ifndef COR_MIGRATE_H
#define COR_MIGRATE_H

#include <dlfcn.h>
#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs on the source while a migration is being prepared, before the task is
 * frozen. The other threads keep running. cord waits for it for a bounded time
 * (a second unless configured otherwise) and then migrates all the same. */
typedef void (*cor_before_migrate)(void *arg);

/* Runs after the task was resumed: moved is 1 on the destination, and 0 on the
 * source if the migration was called off after cor_before_migrate had run. The
 * other threads run already. */
typedef void (*cor_after_migrate)(void *arg, int moved);

/* Registers hooks; either may be NULL. Of several registrations, the last one's
 * `before` runs first and the first one's `after` runs first, as with
 * pthread_atfork(3). They run in the library's thread, one at a time. They last
 * until the process ends or calls execve(2); a forked child has none.
 *
 * Returns 0; -ENOSYS: not started by `cor run`; -ENOMEM, -EAGAIN: no memory, no
 * thread; -EINVAL: both are NULL. */
static inline int cor_on_migrate(cor_before_migrate before, cor_after_migrate after, void *arg)
{
	int (*f)(cor_before_migrate, cor_after_migrate, void *);

	*(void **)&f = dlsym((void *)0 /* RTLD_DEFAULT */, "cor_preload_on_migrate");
	return f ? f(before, after, arg) : -ENOSYS;
}

/* How many times this process has been moved since it registered its first
 * hook; 0 also without the library. Cheap enough to be polled. */
static inline unsigned cor_migrations(void)
{
	unsigned (*f)(void);

	*(void **)&f = dlsym((void *)0, "cor_preload_migrations");
	return f ? f() : 0;
}

#ifdef __cplusplus
}
#endif
#endif
