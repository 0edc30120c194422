/* Terminals as ends of the pump: the real one at home (pump/end_terminal.c), a
 * pseudo-terminal where the task is (pump/end_pty.c).
 *
 * The line discipline works once, where the task is: there the pseudo-terminal has the
 * task's modes, echoes, edits lines and makes signals of keys. The terminal at home is
 * raw meanwhile, and gets the task's modes back whenever the task lets go of it: when it
 * stops, ends, or is no longer in the foreground. Bytes go through the channel of the
 * terminal; modes, the window's size and who is in the foreground are events of channel 0,
 * in one order with signals and wait statuses.
 */
#pragma once

#include <asm/termbits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "libcor/names/pump/end.h"

/* Payload of COR_PUMP_TERMINAL. */
enum cor_pump_tty_change {
	COR_PUMP_TTY_MODES = 1,         /* data: struct termios2 */
	COR_PUMP_TTY_SIZE,              /* data: struct winsize */
	COR_PUMP_TTY_FOREGROUND,        /* data: one byte, 0 or 1 */
};

struct cor_pump_tty_event {
	uint32_t what;
	uint8_t  data[44];
};
_Static_assert(sizeof(struct termios2) == 44, "the kernel's");

/* What an end that is a terminal has besides. */
struct cor_pump_tty {
	struct termios2 modes;          /* as the task has them */
	struct winsize  size;
	bool foreground;                /* the task's process group has the terminal */
	bool over;                      /* the task has ended: nothing more comes of it */
	struct cor_pump_queue *control; /* where events go: what channel 0 sends; NULL: it has none */

	/* home */
	struct termios2 applied;        /* the terminal's own, raw */
	pid_t place;                    /* whose process group it is that must have it */
	bool held;                      /* the task stands still: the terminal is its shell's */

	/* away */
	int slave;                      /* a descriptor of ours of the task's side; -1 */
};

/* A fresh one; modes and size from the channel if it has them. NULL: no memory. */
struct cor_pump_tty *cor_pump_tty_new(const Cor__Names__PumpChannel *ch);
void cor_pump_tty_free(struct cor_pump_tty *t);

/* Says a change on channel 0. */
void cor_pump_tty_say(struct cor_pump_tty *t, enum cor_pump_tty_change what, const void *data,
		      size_t len);

/* A change that the other side has said. */
void cor_pump_terminal_change(struct cor_pump_end *e, const struct cor_pump_tty_event *ev);
void cor_pump_pty_change(struct cor_pump_end *e, const struct cor_pump_tty_event *ev,
			 int supervisor);

/* Away: the task runs, in the foreground or not; signal (0: none) is for it, behind that. */
void cor_pump_pty_tell(struct cor_pump_end *e, int supervisor, int signal);

/* Home: looks whether the task has come into the foreground or left it, and what of the
 * terminal has changed. q: what its channel sends. */
void cor_pump_terminal_look(struct cor_pump_end *e, struct cor_pump_queue *q);
/* Home: the task stands still, or has ended: the terminal is its shell's again. */
void cor_pump_terminal_hold(struct cor_pump_end *e, bool ended);
/* Home: it goes on. */
void cor_pump_terminal_unhold(struct cor_pump_end *e);

/* --- pump/tty.c: modes and input ---------------------------------------------------- */

int cor_tty_get(int fd, struct termios2 *out);
int cor_tty_set(int fd, const struct termios2 *modes, bool drain);
bool cor_tty_same(const struct termios2 *a, const struct termios2 *b);
/* What is typed comes as it is, at once, and nothing is done to it or to what is written. */
struct termios2 cor_tty_raw(const struct termios2 *modes);

/* What was typed and not read yet, edited lines and the beginning of one: taken out of the
 * terminal of which fd is a non-blocking descriptor, for reading, and put in front of q
 * or behind it as TYPED events. */
int cor_tty_take_typed(int fd, struct cor_pump_queue *q, bool in_front);
/* The same put into the terminal of master and slave: not echoed, nor edited, again. */
void cor_tty_put_typed(int master, int slave, const void *data, size_t len);

/* The number of the device that a terminal is, whatever name it was opened by. 0: it is
 * no terminal, or the master's side of one. */
uint64_t cor_tty_device(int fd);
