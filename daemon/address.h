/* ADDR:PORT as people write it: 10.0.0.1:7411, [::1]:7411, host.example:7411. */
#pragma once

#include <stdbool.h>

/* The form only: nothing is resolved. The port is 0..65535 in digits. */
bool cord_address_valid(const char *address);

/* Whether every address that it resolves to is a loopback one: 1, 0, or
 * -EINVAL, -EADDRNOTAVAIL (getaddrinfo(3) finds nothing). */
int cord_address_is_loopback(const char *address);
