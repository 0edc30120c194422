/* cord's configuration: defaults, the file (an ini file, cord(8)), the command line.
 *
 *	[cord]      name, listen, control, control-mode, control-group, state-dir,
 *		    insecure, uniform
 *	[keys]      certificate, key, ca, crl, psk, identity, unencrypted-fabrics
 *	[peers]     NAME = ADDR:PORT
 *	[peer NAME] address, identity, as, fingerprint, users, groups, capabilities, without
 *	[paging]    prefetch, huge-pages, spin-us, check, transports,
 *		    rdma-pin-mib
 *	[mechanisms] NAME = yes|no (libcor/names/mechanism.h)
 *	[files], [files PEER]  PREFIX = shared|local|home, for tasks that leave (for PEER)
 *	[task]      force-pid-namespace, force-time-namespace, force-foreign-vdso
 *	[timeouts]  preamble-s, connect-s, prepare-s, freeze-ms, silence-s,
 *		    reconnect-s, tell-s
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/ids.h"
#include "libcor/names/home/plan.h"
#include "libcor/names/mechanism.h"
#include "libcor/transport/choice.h"
#include "libcor/transport/tls.h"

#define CORD_DEFAULT_CONTROL "/run/cor/cord.sock"
#define CORD_DEFAULT_LISTEN  "127.0.0.1:7411"
#define CORD_DEFAULT_STATE   "/run/cor/state"

/* paging.check: are the pages that come checked? */
enum cord_check {
	CORD_CHECK_AUTO,          /* where nothing else does (TLS) */
	CORD_CHECK_NO,
	CORD_CHECK_YES,
};

/* Another host: where it is, how it proves who it is, and what it may send here. */
struct cord_peer {
	char     name[64];
	char     address[256];    /* ADDR:PORT; "": it only sends */
	char     identity[COR_TLS_NAME];  /* the name in its certificate, or of its pre-shared key;
					     "": its name */
	char     as[COR_TLS_NAME];        /* the identity of ours, of a pre-shared key, that it is
					     shown; "": see cord_keys_psk() */
	bool     has_fingerprint;
	uint8_t  fingerprint[COR_TLS_FINGERPRINT];      /* of its certificate */
	struct cord_ids users;    /* whose tasks it may send; all but root */
	struct cord_ids groups;   /* that they may have beyond those that the user has here */
	uint64_t capabilities;    /* that the tasks of users other than root may have */
	cor_mechanism_set without;/* what its tasks must do without */
};

/* What the files below a path are to be for tasks that leave; peer "": for any host. */
struct cord_files {
	char peer[64];
	struct cor_tree_wish wish;
};

struct cord_config {
	char     name[64];        /* this host, as its peers know it */
	char     listen[256];     /* ADDR:PORT */
	char     control[108];    /* the UNIX socket's path, */
	unsigned control_mode;    /* its mode (0: 0600, or 0660 with a group), */
	char     control_group[64];       /* and group; "": cord's own */
	char     state_dir[256];
	bool     uniform;         /* arriving tasks see every host's tree at /cor/HOST */
	bool     insecure;        /* peers beyond loopback, in the clear */

	/* Files; "": none. With a certificate or pre-shared keys nothing goes in the clear. */
	struct {
		char certificate[256], key[256], ca[256], crl[256];
		char psk[256];
		char identity[COR_TLS_NAME];    /* ours, of a pre-shared key; "": the host's name */
		bool fabrics;                   /* pages may go over fabrics that do not encrypt */
	} keys;

	struct cord_peer *peers;
	unsigned npeers;

	struct cord_files *files;
	unsigned nfiles;

	cor_mechanism_set mechanisms_off;

	struct {
		bool     prefetch;       /* what a migration does unless told otherwise */
		bool     huge_pages;     /* make huge pages again where the source had them */
		enum cord_check check;
		unsigned spin_us;        /* how long a pager spins for a reply before it blocks */
		struct cor_transports transports;  /* of page lanes, best first */
		unsigned rdma_pin_mib;   /* of a task's memory, that adapters may have registered */
		bool     transports_only; /* peers that ask for others are told no */
	} paging;

	struct {
		bool     sleepers;           /* threads that wait are read, and made, ahead */
		/* how tasks arrive; for tests, no is right otherwise */
		bool     force_pid_ns;       /* in a PID namespace though the PIDs are free here */
		bool     force_time_ns;      /* in a time namespace though the clocks agree */
		bool     force_foreign_vdso; /* as if the kernels' vDSOs differed */
	} task;

	struct {
		unsigned preamble_s;     /* a connection must have said what it is for by then */
		unsigned connect_s;      /* connecting to a peer */
		unsigned prepare_s;      /* everything before the freeze */
		unsigned freeze_ms;      /* stopping the task's threads, and until READY */
		unsigned silence_s;      /* a connection whose peer is silent for so long is lost */
		unsigned reconnect_s;    /* a source out of reach after COMMIT; 0: for ever */
		unsigned tell_s;         /* a destination out of reach, which is to be told
					    that the source has lost the ghost */
	} timeouts;
};

/* Fills *c with the defaults; the name is the host's. */
void cord_config_init(struct cord_config *c);
void cord_config_clear(struct cord_config *c);

/* What control_mode and control_group come to. -ENOENT: there is no such group. */
int cord_config_control(const struct cord_config *c, mode_t *mode, gid_t *group,
			struct cor_error *err);

/* Reads an ini file over what *c holds. -EINVAL with "FILE:LINE: ..." in *err;
 * -ENOENT and others when it cannot be read. *c is untouched on failure. */
int cord_config_load(struct cord_config *c, const char *path, struct cor_error *err);

/* Checks what must hold together: addresses, path lengths, and that a host
 * without keys serves loopback only unless insecure. 0 or -EINVAL. */
int cord_config_check(const struct cord_config *c, struct cor_error *err);

/* ADDR:PORT at which this host reaches its own cord. -EINVAL. */
int cord_config_self(const struct cord_config *c, char *out, size_t size);

/* The wishes for tasks that go to peer, its own behind those for any host, so that they
 * count more; malloc, the caller's. NULL with *n 0: none, or no memory. */
struct cor_tree_wish *cord_config_files(const struct cord_config *c, const char *peer, unsigned *n);
/* The peer that dest means: by its name, or by its address. NULL: none. */
const struct cord_peer *cord_config_find_peer(const struct cord_config *c, const char *dest);

/* Where the pumps of this host (libcor/names/pump/pump.h) have their sockets: a directory
 * beside the control socket. */
void cord_config_pumps(const struct cord_config *c, char *path, size_t size);

/* The ADDR:PORT that dest means: a peer's name, or itself when it is an address.
 * NULL: neither, or a peer without an address. */
const char *cord_config_peer(const struct cord_config *c, const char *dest);
