/* Three network namespaces for the tests of libcor/names: hosts SOURCE and
 * DESTINATION, and CLIENT, whose bridge joins them. Each host has the addresses
 * 10.9.0.HOST+1/24 and fd09::HOST+1/64 on eth0. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum net_host { CLIENT, SOURCE, DESTINATION, NET_HOSTS };

/* Group setup and teardown. Without root net_ready() skips the test. */
int net_setup(void **state);
int net_teardown(void **state);
void net_ready(void);

/* The calling thread is on that host until the next call. */
void net_enter(enum net_host host);

/* "ip ARGS" there, which must succeed. */
void net_ip(enum net_host host, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
