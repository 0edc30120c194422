/* The frames of the control channel (cor-protocol(7)): a length-prefixed,
 * typed message each; the body is one protobuf message of control.proto. */
#pragma once

#include <assert.h>
#include <cor/error.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/control.pb-c.h"
#include "libcor/transport/stream.h"

#define CONTROL_VERSION 2
#define CONTROL_BODY_MAX (256u << 20)
#define CONTROL_SMALL_MAX (1u << 20)    /* of what does not describe a task */

enum control_type {
	CONTROL_HELLO       = 1,
	CONTROL_HELLO_REPLY = 2,
	CONTROL_PREPARE     = 3,
	CONTROL_PREPARED    = 4,
	CONTROL_CLOCK       = 5,
	CONTROL_IMAGE       = 6,
	CONTROL_READY       = 7,
	CONTROL_COMMIT      = 8,
	CONTROL_RESUMED     = 9,
	CONTROL_PROGRESS    = 10,
	CONTROL_DRAINED     = 11,
	CONTROL_RELEASED    = 12,
	CONTROL_ABORT       = 13,
	CONTROL_RESUME      = 14,
	CONTROL_TRANSPORT   = 15,
	CONTROL_HUGE     = 16,
	CONTROL_SLEEPERS    = 17,
	CONTROL_SLEEPERS_MADE = 18,
	CONTROL_TREES       = 20,
	CONTROL_PLAN        = 21,
};

/* Little-endian. */
struct control_frame {
	uint32_t length;        /* of the body, at most CONTROL_BODY_MAX or CONTROL_SMALL_MAX */
	uint16_t type;          /* enum control_type */
	uint16_t version;       /* CONTROL_VERSION */
	/* XXH3 (64 bits): what the task is made of must not be spoiled on its way */
	uint64_t head_check;    /* of the 8 bytes before */
	uint64_t body_check;    /* of the body, with head_check as its seed */
} __attribute__((packed));
static_assert(sizeof(struct control_frame) == 24, "frame header is 24 bytes");
static_assert(offsetof(struct control_frame, head_check) == 8, "checks at 8");

/* A received message. Free with control_message_done(). */
struct control_message {
	enum control_type type;
	void  *body;
	size_t len;
};

/* "prepare", for errors and logs; never NULL. */
const char *control_type_name(unsigned type);

/* Fills the checks of f, whose other fields are set. */
void control_frame_seal(struct control_frame *f, const void *body, size_t len);

/* Sends one message; message NULL: an empty body. Blocks until it is on its way. */
int control_send(struct cor_stream *c, enum control_type type, const ProtobufCMessage *message,
		 struct cor_error *err);

/* Sends ABORT with the error's code and text; its own failure is of no interest. */
void control_send_abort(struct cor_stream *c, const struct cor_error *why);

/* Receives one message within timeout_ms (-1: wait). -ETIMEDOUT; -ENOTCONN when the
 * peer has closed; -EPROTO for a frame that is not one; -EBADMSG for one that was
 * spoiled on its way. */
int control_receive(struct cor_stream *c, int timeout_ms, struct control_message *out,
		    struct cor_error *err);

/* As control_receive(), but only type will do. An ABORT becomes its error. */
int control_expect(struct cor_stream *c, enum control_type type, int timeout_ms,
		   struct control_message *out, struct cor_error *err);

/* Waits some milliseconds at most for something to come, without sleeping. */
void control_spin(struct cor_stream *c);

/* The same inside a freeze: spins for some milliseconds before it sleeps. */
int control_expect_soon(struct cor_stream *c, enum control_type type, int timeout_ms,
			struct control_message *out, struct cor_error *err);

/* Unpacks the body; NULL with *err when it is not a message of that kind. Free with
 * protobuf_c_message_free_unpacked(). */
void *control_unpack(const struct control_message *m, const ProtobufCMessageDescriptor *kind,
		     struct cor_error *err);

/* control_expect(), unpacked: *out, a pointer to a message of kind's type, is untouched on
 * failure. */
int control_expect_message(struct cor_stream *c, enum control_type type, int timeout_ms,
			   const ProtobufCMessageDescriptor *kind, void *out,
			   struct cor_error *err);

/* The error an ABORT message carries. */
int control_aborted(const struct control_message *m, struct cor_error *err);

/* What became of waiting for due, where m came: an ABORT's error, or -EPROTO. m is done with. */
int control_unexpected(struct control_message *m, enum control_type due, struct cor_error *err);

void control_message_done(struct control_message *m);
