/* See pump/wire.h. */
#include "libcor/names/pump/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/pump/queue.h"

/* What each frame may hold. */
static const struct {
	uint32_t length_min, length_max;
	uint8_t  arg_min, arg_max;
	bool     channel;       /* belongs to one */
} frames[] = {
	[COR_PUMP_HELLO]  = { sizeof(struct cor_pump_hello), sizeof(struct cor_pump_hello),
			      COR_PUMP_AWAY, COR_PUMP_HOME, false },
	[COR_PUMP_ATTACH] = { 0, 0, 0, 0, false },
	[COR_PUMP_ACK]    = { sizeof(uint64_t), sizeof(uint64_t), 0, COR_PUMP_ACK_GONE, true },
	[COR_PUMP_DATA]   = { 1, COR_PUMP_DATA_MAX, 0, 0, true },
	[COR_PUMP_EVENT]  = { 0, COR_PUMP_PAYLOAD_MAX, 1, COR_PUMP_EVENTS - 1, true },
	[COR_PUMP_CLOSED] = { 0, 0, 0, 0, true },
	[COR_PUMP_BYE]    = { 0, 0, 0, 0, false },
};

int cor_pump_frame_parse(const void *bytes, struct cor_pump_frame *out)
{
	struct cor_pump_frame f;

	memcpy(&f, bytes, sizeof(f));
	if (f.type == 0 || f.type >= ARRAY_SIZE(frames) ||
	    f.length < frames[f.type].length_min || f.length > frames[f.type].length_max ||
	    f.arg < frames[f.type].arg_min || f.arg > frames[f.type].arg_max ||
	    (!frames[f.type].channel && f.channel))
		return -EPROTO;
	*out = f;
	return 0;
}
