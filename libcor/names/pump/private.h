/* A pump process, as its files share it: pump/process.c has the loop, pump/conn.c the
 * connection to the peer, pump/control.c what workers and cord ask. One thread, but for
 * the one that connects (pump/connect.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/pump/pump.h"
#include "libcor/names/pump/channel.h"
#include "libcor/task/channel.h"
#include "libcor/transport/stream.h"
#include "libcor/transport/tls.h"

/* What an epoll(7) event is for. */
enum pump_watch_kind { PUMP_WATCH_CHANNEL, PUMP_WATCH_CONN, PUMP_WATCH_CONTROL,
		       PUMP_WATCH_LISTENER, PUMP_WATCH_CONNECTED, PUMP_WATCH_TASK };

struct pump_watch {
	enum pump_watch_kind kind;
	void *what;
};

struct pump_slot {
	struct pump_watch watch;
	struct pump_slot *prev, *next;
	struct cor_pump_channel channel;
	Cor__Names__PumpChannel *about; /* what it is; no state */
	struct pump *pump;
	/* of TCP sockets (pump/forward.h) */
	bool     passing;               /* came by COR_PUMP_CAME, and will go */
	uint16_t via;                   /* home: of which listener */
	uint64_t came_at;               /* and where in its channel that is told */
	bool     closed_told, closed_heard;
	bool     seen;                  /* away: by the last look at the namespace, and what of the
					   task's side then */
	uint32_t to_send;
	uint64_t received;              /* bytes; and a FIN: */
	bool ended;
	int  watched;                   /* the descriptor that is polled; -1: none */
	unsigned opened;                /* and the end's count of it */
};

enum pump_conn_state {
	PUMP_CONN_GREETING,     /* home: the peer has yet to prove the secret, by TLS's handshake */
	PUMP_CONN_HELLO,        /* the peer's HELLO is awaited */
	PUMP_CONN_READY,        /* both have said HELLO */
	PUMP_CONN_ATTACHED,     /* it is the link's: frames of channels go both ways */
};

struct pump_conn {
	struct pump_watch watch;
	struct pump_conn *prev, *next;
	struct cor_stream *stream;
	enum pump_conn_state state;
	uint32_t epoch;         /* the peer's */
	struct cor_tls *keys;   /* GREETING */
	uint64_t deadline_ns;   /* of it */
	bool     readable, writable;
	bool     bye;           /* BYE has been sent: it ends with the connection */
	uint8_t *in, *out;
	size_t   have, out_start, out_end;
};

struct pump_control {
	struct pump_watch watch;
	struct pump_control *prev, *next;
	int  sock;
	bool worker;            /* the one that made us */
};

struct pump {
	const struct cor_pump_plan *plan;
	uint8_t  id[COR_SESSION_ID], secret[COR_SECRET];
	char    *home;                  /* ADDR:PORT, away */
	char    *host;
	uint32_t epoch;
	int      epoll;
	struct pump_slot *slots;
	struct pump_conn *conns;        /* home may have several that are not attached */
	struct pump_control *controls;
	struct pump_watch listener_watch, connected_watch, task_watch;
	int      listener;
	char     path[108];             /* the listener's; "": none */
	int      connected, connector;  /* a socket pair; connecting threads tell on the second */
	bool     connecting;
	uint64_t connect_ns;            /* not before */
	uint64_t tick_ns;               /* ends are looked after again then */
	uint64_t alone_since_ns;        /* no connection; 0: there is one */
	struct pump_control *reaching;  /* who waits for the first answer of home */
	struct pump_control *froze;     /* who stopped us */
	struct cor_pump_net *net;       /* away: of TCP sockets; NULL: there are none */
	uint16_t next_passing;          /* home: a number to try */
	unsigned npassing;
	pid_t    task;                  /* away: as cord here sees it */
	int      pidfd;                 /* the same, until it has ended; -1 */
	bool     orphaned;              /* away: it has ended; others may have its ends still */
	bool     committed;             /* the task may be running elsewhere */
	bool     started;               /* away: the task runs here; home: it was attached once */
	bool     frozen;                /* away: it stands still, and so do we */
	bool     bye;                   /* home: nothing more will come; what has is to be delivered */
	char     shown[2048];           /* what cord was told last; "": nothing */
	uint64_t show_ns;               /* not before */
	bool     show_again;            /* something may have changed since */
	bool     ending;
	int      status;
};

/* Channel 0 and that of the task's terminal know each other, if there are both. */
void pump_link_terminal(struct pump *p);

/* Away: is told when the task ends. */
void pump_watch_task(struct pump *p);

/* Nothing is on its way any more, in any channel. */
bool pump_is_over(const struct pump *p);

int  pump_watch(struct pump *p, int fd, uint32_t events, struct pump_watch *w);
struct pump_slot *pump_slot_find(struct pump *p, uint16_t id);
/* A slot for a channel, without an end. NULL: no memory, or there is one of that id. */
struct pump_slot *pump_slot_new(struct pump *p, const Cor__Names__PumpChannel *about);
void pump_slot_free(struct pump *p, struct pump_slot *s);

/* --- pump/conn.c --- */

/* A connection behind its preamble; taken. keys: its handshake is to come; taken too. */
void pump_conn_add(struct pump *p, struct cor_stream *stream, struct cor_tls *keys);
void pump_conn_free(struct pump *p, struct pump_conn *c);
/* Its stream is another one: polls that. */
int  pump_conn_watch(struct pump *p, struct pump_conn *c);
void pump_conn_unwatch(struct pump *p, struct pump_conn *c);
/* Takes what has come of all of them. True: there may be more. */
bool pump_conn_pump_in(struct pump *p);
struct pump_conn *pump_conn_attached(struct pump *p);
/* Away: whatever the state of the task and the connections asks for: ATTACH, BYE. */
void pump_conn_advance(struct pump *p);
/* Sends what can be sent. True: more might follow at once. */
bool pump_conn_pump_out(struct pump *p);

/* --- pump/greet.c --- */

/* Home: a connection behind its preamble, of a peer that proves the secret by TLS; taken. */
void pump_greet_begin(struct pump *p, int sock);
/* Goes on with the handshake of c. 0: it is admitted; -EAGAIN; else it is to be freed. */
int  pump_greet(struct pump *p, struct pump_conn *c);
/* When the first handshake is due (UINT64_MAX: there is none); ends those that are. */
uint64_t pump_greet_due(const struct pump *p);
void pump_greet_expire(struct pump *p, uint64_t now);

/* --- pump/connect.c --- */

/* Begins to connect home, in a thread; one at a time. */
void pump_connect_begin(struct pump *p);
/* One has an outcome: a connection, or -errno. */
void pump_connect_done(struct pump *p);

/* --- pump/show.c --- */

/* Away: tells cord how it stands, if that has changed, once a second at most. */
void pump_show(struct pump *p, uint64_t now);
/* It ends. */
void pump_show_end(struct pump *p);

/* --- pump/control.c --- */

int  pump_control_add(struct pump *p, int sock, bool worker);
void pump_control_free(struct pump *p, struct pump_control *c);
void pump_control_event(struct pump *p, struct pump_control *c);
void pump_control_accept(struct pump *p);
/* Listens on p->path. */
int  pump_control_listen(struct pump *p);
/* Home has answered (r 0), or cannot be reached. */
void pump_control_reached(struct pump *p, int r, const struct cor_error *err);
