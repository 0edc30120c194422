/* A file's handle (name_to_handle_at(2)): tells it from another that has been given the same
 * inode since. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define COR_FILE_HANDLE 132     /* bytes, the most: MAX_HANDLE_SZ and the type */

/* Of the descriptor fd, or (-1) of what path leads to, which may be in /proc/PID/fd. The bytes
 * that are set; 0: its file system has none. */
size_t cor_file_handle(int fd, const char *path, uint8_t out[COR_FILE_HANDLE]);
