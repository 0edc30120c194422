/* What the peer's pump sends for a channel: frames, behind a state that the task's
 * table brought along. The channel's end is in memory and takes and gives at the input's
 * will. */
#include <errno.h>

#include "libcor/names/pump/channel.h"
#include "tests/fuzz/fuzz.h"

#define COMMANDS_MAX 200

static struct fuzz_input *input;

static ssize_t end_read(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	static const uint8_t bytes[300];
	size_t n = fuzz_u8(input);

	if (n > 250)
		return n == 255 ? 0 : -EAGAIN;
	n = n < room ? n : room;
	return n == 0 ? -EAGAIN : cor_pump_queue_bytes(q, bytes, n) < 0 ? -ENOMEM : (ssize_t)n;
}

/* As much as the input says of what is there, up to an END. */
static ssize_t end_write(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	uint8_t how = fuzz_u8(input);

	FUZZ_CHECK(i && i->event != COR_PUMP_END && i->event < COR_PUMP_EVENTS);
	if (how > 250)
		return how == 255 ? -EPIPE : how == 254 ? -ENODATA : -EAGAIN;
	if (i->event)
		return 1;
	return (ssize_t)(cor_pump_item_end(i) - q->start > how ? how + 1u :
			 cor_pump_item_end(i) - q->start);
}

static void end_shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
}

static bool end_gone(const struct cor_pump_end *e, uint32_t events)
{
	return events & 8;
}

static const struct cor_pump_end_ops end_ops = {
	.read = end_read, .write = end_write, .shut = end_shut, .gone = end_gone,
};

static void check_channel(const struct cor_pump_channel *c)
{
	FUZZ_CHECK(c->out.start <= c->out.end && c->in.start <= c->in.end);
	FUZZ_CHECK(c->out.start <= c->sent || !c->live);
	FUZZ_CHECK(c->sent <= c->out.end || !c->live);
	FUZZ_CHECK(!c->writing_over || cor_pump_queue_length(&c->in) == 0);
	FUZZ_CHECK(cor_pump_queue_length(&c->in) <= 2 * COR_PUMP_MESSAGE_MAX);
}

static void send_frame(struct cor_pump_channel *c)
{
	struct cor_pump_frame raw, f;
	uint8_t *payload;

	fuzz_take(input, &raw, sizeof(raw));
	/* small enough that a whole one fits into an input */
	raw.length %= 512;
	if (cor_pump_frame_parse(&raw, &f) < 0)
		return;
	payload = malloc(f.length + 1);
	FUZZ_CHECK(payload);
	fuzz_take(input, payload, f.length);
	cor_pump_channel_take(c, &f, payload);
	free(payload);
}

/* What goes out is what a pump of ours would take. */
static void receive_frame(struct cor_pump_channel *c)
{
	static uint8_t buf[COR_PUMP_FRAME_MAX];
	struct cor_pump_frame f;
	size_t n = cor_pump_channel_give(c, buf);

	if (!n)
		return;
	FUZZ_CHECK(n <= sizeof(buf));
	FUZZ_CHECK(cor_pump_frame_parse(buf, &f) == 0 && n == sizeof(f) + f.length);
}

/* A state that was accepted reads the same when it is saved. */
static void load(struct cor_pump_channel *c)
{
	uint8_t len = fuzz_u8(input), bytes[255];
	Cor__Names__PumpState *s, *again = NULL;

	fuzz_take(input, bytes, len);
	s = cor__names__pump_state__unpack(NULL, len, bytes);
	if (!s)
		return;
	if (cor_pump_channel_load(c, s) == 0) {
		FUZZ_CHECK(cor_pump_channel_save(c, &again) == 0);
		FUZZ_CHECK(again->in_at == s->in_at && again->out_at == s->out_at);
		cor__names__pump_state__free_unpacked(again, NULL);
	}
	cor__names__pump_state__free_unpacked(s, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct cor_pump_channel c = { .end = COR_PUMP_END_INIT };

	input = &in;
	c.end.ops = &end_ops;
	c.end.reads = fuzz_u8(&in) & 1;
	c.end.writes = true;
	FUZZ_CHECK(cor_pump_channel_begin(&c) == 0);
	load(&c);
	cor_pump_channel_attach(&c);
	for (unsigned i = 0; i < COMMANDS_MAX && in.size; i++) {
		uint8_t command = fuzz_u8(&in);

		switch (command % 6) {
		case 0: send_frame(&c); break;
		case 1: receive_frame(&c); break;
		case 2: cor_pump_channel_events(&c, command >> 4); break;
		case 3: cor_pump_channel_read(&c, command & 64); break;
		case 4: cor_pump_channel_write(&c); break;
		case 5: cor_pump_channel_attach(&c); break;
		}
		check_channel(&c);
	}
	cor_pump_channel_clear(&c);
	return 0;
}
