/* cord's log: one line per message on standard error, with time, level and the
 * first digits of the session it is about. Where standard error is the journal
 * the time is left to it and the level is told the journal's way
 * (sd-daemon(3), "<6>").
 *
 * The level and the style are the one process-wide state here: set once by
 * cord_log_open() before anything else runs, read-only afterwards.
 */
#pragma once

#include <stdarg.h>

enum cord_log_level {       /* syslog(3)'s numbers */
	CORD_LOG_ERROR   = 3,
	CORD_LOG_WARNING = 4,
	CORD_LOG_NOTICE  = 5,
	CORD_LOG_INFO    = 6,
	CORD_LOG_DEBUG   = 7,
};

/* Messages above the level are dropped. Before this call: CORD_LOG_INFO. */
void cord_log_open(enum cord_log_level level);

/* session: 32 hex digits, or NULL. */
void cord_log(enum cord_log_level level, const char *session, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void cord_vlog(enum cord_log_level level, const char *session, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
