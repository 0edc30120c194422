/* How cor shows numbers and objects. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* "912 B", "4.0 KiB", "1.5 GiB"; "812 us", "1.25 s". Into buf, which is returned. */
const char *output_bytes(char *buf, size_t size, double bytes);
const char *output_us(char *buf, size_t size, double us);

/* One object on standard output, on one line. "event" is left out. */
void output_json(const json_t *o);

/* ok:false, exit and error: for --json where there is no answer of cord. */
void output_json_error(int code, const char *error);

/* Names of tasks come from anywhere: makes every text in o fit to be shown on a
 * terminal, '?' in place of control characters. */
void output_clean(json_t *o);
void output_clean_text(char *text);

/* "error" of a result that says no, or a stand-in. */
const char *output_reason(const json_t *result);

/* A member that is a number, without its fraction; 0 where there is none. */
int64_t output_number(const json_t *o, const char *key);
/* A text member; "-" where there is none. */
const char *output_text(const json_t *o, const char *key);

/* One of what a task needs of a host, without an end of the line: "files of A at / (12.5 MiB)",
 * "processes of A: parent, pipe:[1234] (3 MiB, not connected)". */
void output_need(const json_t *need);
