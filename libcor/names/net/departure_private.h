/* What net/departure.c and net/departure_settle.c share. */
#pragma once

#include <stdint.h>

#include "libcor/names/net/departure.h"
#include "libcor/names/net/packet_hold.h"

/* A silenced socket. */
struct held {
	int      fd;            /* a duplicate */
	unsigned index;         /* in the table of files */
	int      reuse;         /* its SO_REUSEADDR */
	bool     silent;
	uint32_t sent_again;    /* cor_tcp_sent_again(), once silent */
};

/* A listening socket that answers nobody new. */
struct gate {
	int      number;        /* the task's */
	uint64_t ino;
	uint16_t port;          /* as on the wire */
};

struct cor_departure {
	struct cor_address addresses[COR_ADDRESSES_MAX];
	char     wanted[COR_ADDRESSES_MAX][IF_NAMESIZE]; /* the destination's interfaces */
	unsigned naddresses;
	unsigned nremoved;      /* the first of them are off */
	int      rtnl, announcer;
	int      silencer;      /* -1: none */
	bool     stopped;
	bool     looked;        /* no socket is signed */
	struct held *held;
	unsigned nheld, nheld_room;
	struct cor_packet_hold *hold;   /* NULL: what comes meanwhile is lost */
	uint8_t  hwaddr[COR_ADDRESSES_MAX][6]; /* the destination's */
	unsigned nhwaddr;
	pid_t    pid;           /* whose sockets are gated */
	struct gate *gates;
	unsigned ngated;
};
