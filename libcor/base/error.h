/* Filling a struct cor_error; see include/cor/error.h for the contract. */
#pragma once

#include <cor/error.h>

/* Sets *err (NULL allowed) to code and the formatted sentence; returns code, so
 * that "return cor_fail(err, -ENOENT, ...)" reads well. code is negative. */
int cor_fail(struct cor_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As cor_fail() with -errno, and ": strerror" appended to the sentence. */
int cor_fail_errno(struct cor_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* As cor_fail(code), with ": strerror(-code)" appended. */
int cor_fail_code(struct cor_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence that *err already holds; returns
 * err->code (or code when err is NULL). Used by callers that know more. */
int cor_fail_prefix(struct cor_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
