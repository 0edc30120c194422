/* Reading cord's configuration from a file; see config.h. */
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_private.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

/* inih keeps 49 bytes of a section's name. */
#define SECTION_MAX 49

enum kind { TEXT, YESNO, NUMBER, CHECK, TRANSPORTS, MODE };

static const struct key {
	const char *section, *name;
	enum kind   kind;
	size_t      offset, size;       /* size: of a text */
	unsigned    min, max;           /* of a number */
} keys[] = {
#define FIELD(f) offsetof(struct cord_config, f)
#define TEXT_FIELD(f) TEXT, FIELD(f), sizeof(((struct cord_config *)0)->f), 0, 0
	{ "cord",     "name",        TEXT_FIELD(name) },
	{ "cord",     "listen",      TEXT_FIELD(listen) },
	{ "cord",     "control",     TEXT_FIELD(control) },
	{ "cord",     "control-mode",  MODE, FIELD(control_mode), 0, 0, 0 },
	{ "cord",     "control-group", TEXT_FIELD(control_group) },
	{ "cord",     "state-dir",   TEXT_FIELD(state_dir) },
	{ "cord",     "uniform",     YESNO,  FIELD(uniform), 0, 0, 0 },
	{ "cord",     "insecure",    YESNO,  FIELD(insecure), 0, 0, 0 },
	{ "keys",     "certificate", TEXT_FIELD(keys.certificate) },
	{ "keys",     "key",         TEXT_FIELD(keys.key) },
	{ "keys",     "ca",          TEXT_FIELD(keys.ca) },
	{ "keys",     "crl",         TEXT_FIELD(keys.crl) },
	{ "keys",     "psk",         TEXT_FIELD(keys.psk) },
	{ "keys",     "identity",    TEXT_FIELD(keys.identity) },
	{ "keys",     "unencrypted-fabrics", YESNO, FIELD(keys.fabrics), 0, 0, 0 },
	{ "paging",   "prefetch",    YESNO,  FIELD(paging.prefetch), 0, 0, 0 },
	{ "paging",   "huge-pages",  YESNO,  FIELD(paging.huge_pages), 0, 0, 0 },
	{ "paging",   "spin-us",     NUMBER, FIELD(paging.spin_us), 0, 0, 10000 },
	{ "paging",   "check",       CHECK,  FIELD(paging.check), 0, 0, 0 },
	{ "paging",   "transports",  TRANSPORTS, 0, 0, 0, 0 },
	{ "paging",   "rdma-pin-mib", NUMBER, FIELD(paging.rdma_pin_mib), 0, 0, 1u << 20 },
	{ "task",     "sleepers",    YESNO,  FIELD(task.sleepers), 0, 0, 0 },
	{ "task",     "force-pid-namespace",  YESNO, FIELD(task.force_pid_ns), 0, 0, 0 },
	{ "task",     "force-time-namespace", YESNO, FIELD(task.force_time_ns), 0, 0, 0 },
	{ "task",     "force-foreign-vdso",   YESNO, FIELD(task.force_foreign_vdso), 0, 0, 0 },
	{ "timeouts", "preamble-s",  NUMBER, FIELD(timeouts.preamble_s), 0, 1, 3600 },
	{ "timeouts", "connect-s",   NUMBER, FIELD(timeouts.connect_s), 0, 1, 3600 },
	{ "timeouts", "prepare-s",   NUMBER, FIELD(timeouts.prepare_s), 0, 1, 3600 },
	{ "timeouts", "freeze-ms",   NUMBER, FIELD(timeouts.freeze_ms), 0, 1, 600000 },
	{ "timeouts", "silence-s",   NUMBER, FIELD(timeouts.silence_s), 0, 1, 3600 },
	{ "timeouts", "reconnect-s", NUMBER, FIELD(timeouts.reconnect_s), 0, 0, INT_MAX },
	{ "timeouts", "tell-s",      NUMBER, FIELD(timeouts.tell_s), 0, 1, INT_MAX },
#undef TEXT_FIELD
#undef FIELD
};

static int read_yesno(struct reading *r, const char *value, bool *out)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcasecmp(value, yes[i]) || !strcasecmp(value, no[i])) {
			*out = !strcasecmp(value, yes[i]);
			return 1;
		}
	}
	return config_bad(r, "this is neither yes nor no:", value);
}

static int set_yesno(struct reading *r, const struct key *k, const char *value)
{
	return read_yesno(r, value, (bool *)((char *)r->config + k->offset));
}

static int set_check(struct reading *r, const struct key *k, const char *value)
{
	enum cord_check *out = (enum cord_check *)((char *)r->config + k->offset);
	bool on = false;

	if (!strcasecmp(value, "auto"))
		*out = CORD_CHECK_AUTO;
	else if (read_yesno(r, value, &on))
		*out = on ? CORD_CHECK_YES : CORD_CHECK_NO;
	else
		return 0;
	return 1;
}

static int set_mode(struct reading *r, const struct key *k, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (strspn(value, "01234567") != strlen(value) || *end || (mode & ~0666ul) ||
	    (mode & 0600) != 0600)
		return config_bad(r, "the mode of a socket is 0600 and what others may do (0660, 0666), "
				  "not", value);
	*(unsigned *)((char *)r->config + k->offset) = (unsigned)mode;
	return 1;
}

static int set_mechanism(struct reading *r, const char *name, const char *value)
{
	int which = cor_mechanism_find(name);
	bool on;

	if (which < 0)
		return config_bad(r, "this mechanism is not known:", name);
	if (!read_yesno(r, value, &on))
		return 0;
	if (!on && cor_mechanism_table[which].essential)
		return config_bad(r, "nothing moves without the mechanism", name);
	if (on)
		r->config->mechanisms_off &= ~(1u << which);
	else
		r->config->mechanisms_off |= 1u << which;
	return 1;
}

static int set_transports(struct reading *r, const char *value)
{
	struct cor_error why = COR_ERROR_INIT;
	int code = cor_transports_parse(value, &cor_transports_default,
					&r->config->paging.transports, &why);

	if (code < 0 && !r->failed) {
		r->failed = cor_fail(r->err, -EINVAL, "%s:%d: %s", r->path, r->line, why.text);
		r->failed_line = r->line;
	}
	r->config->paging.transports_only = true;
	return code == 0;
}

static int set_number(struct reading *r, const struct key *k, const char *value)
{
	unsigned *out = (unsigned *)((char *)r->config + k->offset);
	char what[96], *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(value, &end, 10);
	if (errno || end == value || *end || *value == '-' || v < k->min || v > k->max) {
		snprintf(what, sizeof(what), "%s must be a number from %u to %u, not", k->name,
			 k->min, k->max);
		return config_bad(r, what, value);
	}
	*out = (unsigned)v;
	return 1;
}

static int set_text(struct reading *r, const struct key *k, const char *value)
{
	if (!*value)
		return config_bad(r, "nothing is given for", k->name);
	if (strlen(value) >= k->size)
		return config_bad(r, "this is too long:", value);
	strcpy((char *)r->config + k->offset, value);
	return 1;
}

/* "files" or "files PEER" */
static int add_files(struct reading *r, const char *section, const char *prefix, const char *value)
{
	const char *peer = section[5] ? section + 5 + strspn(section + 5, " \t") : "";
	struct cord_config *c = r->config;
	struct cord_files f, *more;
	int mode = cor_tree_mode_parse(value);
	size_t len = strlen(prefix);

	while (len > 1 && prefix[len - 1] == '/')
		len--;
	if (prefix[0] != '/' || len >= sizeof(f.wish.prefix) || strstr(prefix, "/../"))
		return config_bad(r, "files are named by an absolute path, not by", prefix);
	if (mode < 0)
		return config_bad(r, "files are shared, local or home, not", value);
	if (strlen(peer) >= sizeof(f.peer))
		return config_bad(r, "this peer's name is too long:", peer);
	more = reallocarray(c->files, c->nfiles + 1, sizeof(*more));
	if (!more) {
		r->failed = cor_fail(r->err, -ENOMEM, "out of memory");
		return 0;
	}
	c->files = more;
	strcpy(f.peer, peer);
	snprintf(f.wish.prefix, sizeof(f.wish.prefix), "%.*s", (int)len, prefix);
	f.wish.mode = (Cor__Names__TreeMode)mode;
	c->files[c->nfiles++] = f;
	return 1;
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *r = arg;

	if (!strcmp(section, "peers"))
		return config_peer_add(r, name, value);
	if (!strcmp(section, "files") || !strncmp(section, "files ", 6))
		return add_files(r, section, name, value);
	/* inih cuts longer ones off */
	if (strlen(section) >= SECTION_MAX)
		return config_bad(r, "this section's name is too long:", section);
	if (!strncmp(section, "peer ", 5))
		return config_peer_set(r, section + 5 + strspn(section + 5, " "), name, value);
	if (!strcmp(section, "mechanisms"))
		return set_mechanism(r, name, value);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *k = &keys[i];

		if (strcmp(section, k->section) || strcmp(name, k->name))
			continue;
		switch (k->kind) {
		case TEXT:   return set_text(r, k, value);
		case YESNO:  return set_yesno(r, k, value);
		case NUMBER: return set_number(r, k, value);
		case CHECK:  return set_check(r, k, value);
		case TRANSPORTS: return set_transports(r, value);
		case MODE:   return set_mode(r, k, value);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(section, keys[i].section))
			return config_bad(r, "this key is not known:", name);
	return config_bad(r, "this section is not known:", section);
}

/* One call is one line to inih (ini_reader, as fgets(3)). */
static char *read_line(char *buf, int size, void *arg)
{
	struct reading *r = arg;

	r->line++;
	return fgets(buf, size, r->file);
}

/* *out, a pointer to such elements: a copy of n of them, or NULL if there are none. */
static int copy_list(void *out, const void *list, size_t n, size_t size)
{
	void *copy = n ? calloc(n, size) : NULL;

	if (n && !copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, list, n * size);
	memcpy(out, &copy, sizeof(copy));
	return 0;
}

int cord_config_load(struct cord_config *c, const char *path, struct cor_error *err)
{
	struct cord_config fresh = *c;
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	struct reading r = { .config = &fresh, .path = path, .err = err, .file = f };
	int line;

	if (!f)
		return cor_fail_errno(err, "the configuration %s cannot be read", path);
	fresh.peers = NULL;
	fresh.files = NULL;
	if (copy_list(&fresh.peers, c->peers, c->npeers, sizeof(*c->peers)) < 0 ||
	    copy_list(&fresh.files, c->files, c->nfiles, sizeof(*c->files)) < 0) {
		cord_config_clear(&fresh);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	line = ini_parse_stream(read_line, &r, on_value, &r);
	if (line && (!r.failed || line < r.failed_line))
		r.failed = cor_fail(err, -EINVAL,
				    "%s:%d: this is neither [SECTION] nor KEY = VALUE", path,
				    COR_MAX(line, 0));
	if (r.failed) {
		cord_config_clear(&fresh);
		return r.failed;
	}
	cord_config_clear(c);
	*c = fresh;
	return 0;
}
