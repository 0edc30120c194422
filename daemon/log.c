/* The daemon's log lines; see log.h. */
#include "daemon/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static struct {
	enum cord_log_level level;
	bool journal;
} settings = { .level = CORD_LOG_INFO };

static const char *const names[] = {
	[CORD_LOG_ERROR]   = "error",
	[CORD_LOG_WARNING] = "warning",
	[CORD_LOG_NOTICE]  = "notice",
	[CORD_LOG_INFO]    = "info",
	[CORD_LOG_DEBUG]   = "debug",
};

/* JOURNAL_STREAM names the device and inode of the journal's socket
 * (systemd.exec(5)); it is inherited, so it must be compared. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void cord_log_open(enum cord_log_level level)
{
	settings.level = level;
	settings.journal = stderr_is_journal();
}

static size_t line_start(char *line, size_t size, enum cord_log_level level)
{
	struct timespec now;
	struct tm tm;
	char day[32];
	int n;

	if (settings.journal) {
		n = snprintf(line, size, "<%d>", (int)level);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
		n = snprintf(line, size, "%s.%03ldZ %-7s ", day, now.tv_nsec / 1000000,
			     names[level]);
	}
	return n > 0 ? (size_t)n : 0;
}

void cord_vlog(enum cord_log_level level, const char *session, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES];
	size_t used;
	ssize_t written;

	if (level > settings.level)
		return;
	used = line_start(line, sizeof(line), level);
	if (session && *session)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "[%.8s] ", session);
	vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
	used = strlen(line);
	/* Names of tasks and words of peers come along; they make no lines of their own. */
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	line[used++] = '\n';
	/* One write, so that lines of cord and of its workers do not mix. Nothing
	 * can be done where even the log fails. */
	written = write(STDERR_FILENO, line, used);
	(void)written;
}

void cord_log(enum cord_log_level level, const char *session, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cord_vlog(level, session, fmt, ap);
	va_end(ap);
}
