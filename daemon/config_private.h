/* What the files that read the configuration share. */
#pragma once

#include <stdio.h>

#include "daemon/config.h"

/* What the parser's callback needs: inih hands it one pointer. */
struct reading {
	struct cord_config *config;
	const char         *path;
	struct cor_error   *err;
	FILE               *file;
	int                 line;       /* read last: inih does not tell its handler */
	int                 failed;     /* the first failure's code, 0: none yet */
	int                 failed_line;
};

/* 0, for inih: this line is wrong. */
int config_bad(struct reading *r, const char *what, const char *name);

/* config_peer.c: a key of the section [peer NAME], and a line of [peers]. 1 or 0. */
int config_peer_set(struct reading *r, const char *peer, const char *key, const char *value);
int config_peer_add(struct reading *r, const char *name, const char *value);
