/* A task to capture and a stub to restore in, for the tests of libcor/names.
 *
 * A subject is a forked child without any descriptor but those its setup
 * function makes; it stops itself when they are made. A stub is another child
 * that restores a table and runs a verify function on what came out. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "libcor/names/files.h"

struct subject {
	pid_t pid;
};

/* Fails the calling child (subject or stub) with the line that did not hold. */
#define HOLDS(condition) \
	do { if (!(condition)) fixture_broken(__FILE__, __LINE__, #condition); } while (0)
void fixture_broken(const char *file, int line, const char *what) __attribute__((noreturn));

/* cmocka setup and teardown: shared memory for children's messages; kills what is left. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define FILES_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* A path in a scratch directory that the teardown removes (static buffer). */
const char *fixture_path(const char *name);

/* Forks a subject that runs setup, then stops; runs after when it is continued. */
struct subject subject_start(void (*setup)(void), void (*after)(void));
/* Continues it; it must end well. */
void subject_finish(struct subject *s);
void subject_kill(struct subject *s);

/* Captures with content; fails the test when it is refused. The fixture's to free. */
Cor__Names__FileTable *capture(const struct subject *s);
/* The capture must be refused; its sentence (static). */
const char *capture_refused(const struct subject *s);

/* Restores table in a stub, which then runs verify. */
void restore_and(const Cor__Names__FileTable *table, void (*verify)(void));
/* The same with memory objects: descriptors of the calling process. */
void restore_with_objects(const Cor__Names__FileTable *table, const int *objects,
			  unsigned nobjects, void (*verify)(void));
/* The restore must fail with code; its sentence (static). */
const char *restore_refused(const Cor__Names__FileTable *table, int code);

/* start, capture, kill, check, restore, verify */
void round_trip(void (*setup)(void), void (*verify)(void));
/* start, then the refusal's sentence */
const char *refusal_of(void (*setup)(void));
/* The same of what will do when it is tried again (-EAGAIN). */
const char *delay_of(void (*setup)(void));

void assert_mentions(const char *sentence, const char *part);
