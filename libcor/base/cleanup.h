/* Cleanup attributes: what a scope acquired is released when the scope ends.
 *
 *	_cleanup_close_ int fd = open(...);
 *	_cleanup_free_ char *text = NULL;
 *	...
 *	return take_fd(&fd);       the caller owns it now
 */
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <errno.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

static inline void cor_closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}
static inline void cor_freep(void *p) { free(*(void **)p); }
static inline void cor_fclosep(FILE **f) { if (*f) fclose(*f); }
static inline void cor_closedirp(DIR **d) { if (*d) closedir(*d); }
static inline void cor_unlockp(pthread_mutex_t **m) { if (*m) pthread_mutex_unlock(*m); }

#define _cleanup_close_    _cleanup_(cor_closep)
#define _cleanup_free_     _cleanup_(cor_freep)
#define _cleanup_fclose_   _cleanup_(cor_fclosep)
#define _cleanup_closedir_ _cleanup_(cor_closedirp)

/* Holds a mutex until the scope ends. */
#define COR_LOCK(m) \
	pthread_mutex_t *cor_lock_here __attribute__((cleanup(cor_unlockp), unused)) = (m); \
	pthread_mutex_lock(cor_lock_here)

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define take_ptr(p) ({ __typeof__(p) cor_taken_ = (p); (p) = NULL; cor_taken_; })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define COR_MIN(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define COR_MAX(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ > b_ ? a_ : b_; })
