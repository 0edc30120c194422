/* Telling the service manager how things are: sd_notify(3)'s protocol, without
 * its library. */
#pragma once

/* Sends state ("READY=1", "STOPPING=1", ...) to NOTIFY_SOCKET, where there is
 * one. 0 (also without one), or -errno. */
int cord_notify(const char *state);
