/* What a process that reads a network may still do: it is nobody, without capabilities but
 * those that it is left, and may make only the system calls that serving pages takes
 * (seccomp(2)). */
#pragma once

#include <cor/error.h>
#include <sys/types.h>

/* From here on this process, with all threads that it makes, can read the memory of process
 * pid, but no other's, use the descriptors that it has, connect, and read what everybody may
 * read: no programs, no processes, no writing to files. To be called while it has one thread.
 * Without root's rights it stays who it is, and the rest holds. Not undone. */
int sandbox_serve(pid_t pid, struct cor_error *err);
