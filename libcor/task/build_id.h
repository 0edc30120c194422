/* The GNU build-id of an ELF file: what identifies a file behind mappings. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Stores the build-id of the ELF file fd; its length, 0 when it has none (or
 * more than room, or is no ELF file). */
size_t cor_build_id(int fd, uint8_t *out, size_t room);
