/* See parallel.h. */
#include "libcor/base/parallel.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"

#define THREADS_MAX 8
#define STACK_BYTES (256 * 1024)

struct part {
	void (*fn)(void *arg, unsigned from, unsigned to);
	void    *arg;
	unsigned from, to;
	pthread_t thread;
	bool      started;
};

static void *run(void *arg)
{
	struct part *p = arg;

	p->fn(p->arg, p->from, p->to);
	return NULL;
}

static bool start(struct part *p)
{
	pthread_attr_t attr;
	bool ok;

	if (pthread_attr_init(&attr))
		return false;
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	ok = pthread_create(&p->thread, &attr, run, p) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

void cor_parallel(unsigned n, unsigned grain, void (*fn)(void *arg, unsigned from, unsigned to),
		  void *arg)
{
	unsigned useful = grain ? n / grain : n, parts = 1;
	/* which reads a file: not for one part */
	long processors = useful > 1 ? sysconf(_SC_NPROCESSORS_ONLN) : 1;
	unsigned most = (unsigned)COR_MIN(processors, (long)THREADS_MAX);
	struct part part[THREADS_MAX];

	if (processors > 0 && useful > 0)
		parts = COR_MIN(useful, most);
	for (unsigned i = parts; i-- > 0; ) {
		part[i] = (struct part){
			.fn = fn, .arg = arg,
			.from = (unsigned)((uint64_t)n * i / parts),
			.to = (unsigned)((uint64_t)n * (i + 1) / parts),
		};
		part[i].started = i > 0 && start(&part[i]);
		if (!part[i].started)
			run(&part[i]);
	}
	for (unsigned i = 1; i < parts; i++)
		if (part[i].started)
			pthread_join(part[i].thread, NULL);
}

void cor_first_error_note(struct cor_first_error *f, unsigned at, int code,
			  const struct cor_error *err)
{
	COR_LOCK(&f->lock);

	if (code >= 0 || at >= f->at)
		return;
	f->at = at;
	f->err = *err;
	f->err.code = code;
}

int cor_first_error_take(struct cor_first_error *f, struct cor_error *err)
{
	if (f->at == ~0u)
		return 0;
	if (err && f->err.text[0])
		*err = f->err;
	return f->err.code;
}
