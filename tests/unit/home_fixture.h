/* A home and its files seen from elsewhere, for tests: a directory of this host is
 * served by a file server's process and shown by the file system in a mount namespace
 * that the test process enters. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/home/home.h"
#include "libcor/names/home/mount.h"
#include "libcor/names/home/process.h"

struct home_lab {
	char top[64];           /* scratch */
	char home[80];          /* the files at home: the same as far + home, seen directly */
	char far[80];           /* where the home's whole tree is mounted */
	char dir[80];           /* for the server */
	char shown[160];        /* home, through the file system */
	uint8_t id[16], secret[32];
	int  control;           /* to the server */
	int  listener;
	unsigned port;
	int  mount;
	char next[80];          /* as far, for another client of the home */
	int  next_mount;        /* -1: there is none */
	pthread_t cord;         /* accepts and hands over, as cord does */
	int  sock;              /* the last connection's, for cutting it */
	bool ending;
};

/* cmocka setup and teardown; *state is a struct home_lab. */
int home_lab_setup(void **state);
int home_lab_teardown(void **state);

/* The same home seen from where its task goes next: a mount, a client of its own; path is what
 * from_far() puts in front there. The lab's teardown ends it, whatever the test comes to. */
void home_lab_next(struct home_lab *l, char path[160]);

/* Paths in static buffers: name at home, and the same seen through the file system. */
const char *at_home(const struct home_lab *l, const char *name);
const char *from_far(const struct home_lab *l, const char *name);

/* Writes text at home as another process would. */
void write_home(const struct home_lab *l, const char *name, const char *text);
/* The whole of a file, at most 4095 bytes, in a static buffer. */
const char *read_path(const char *path);

/* Until the condition holds, some seconds at most. */
bool eventually(bool (*condition)(const struct home_lab *l), const struct home_lab *l);

/* Cuts the connection between the two. */
void cut_home(struct home_lab *l);
