/* cor/error.h - how cor reports a failure.
 *
 * Every function that can fail returns 0 (or a count) on success and a
 * negative errno on failure; its output arguments are then untouched. A
 * function that takes a struct cor_error also fills it with one sentence for
 * people, which names the thing that failed (path, descriptor, PID, peer).
 * NULL is allowed wherever a struct cor_error pointer is taken.
 *
 * The library itself never prints and never exits.
 */
#ifndef COR_ERROR_H
#define COR_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Longest text that travels with an error, its NUL included. */
#define COR_ERROR_TEXT 480

struct cor_error {
	int  code;                  /* negative errno, 0 when nothing failed */
	char text[COR_ERROR_TEXT];  /* one sentence, no newline, always NUL-terminated */
};

#define COR_ERROR_INIT { 0, "" }

#ifdef __cplusplus
}
#endif
#endif
