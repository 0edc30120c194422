/* The GNU build-id of an ELF file: a note (elf(5), NT_GNU_BUILD_ID). */
#include <elf.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/task/build_id.h"

#define MAX_SEGMENTS 64
#define MAX_NOTES    4096       /* bytes of one note segment that are looked at */

static size_t align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static size_t find_note(const uint8_t *p, size_t len, uint8_t *out, size_t room)
{
	while (len >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;
		size_t name, desc;

		memcpy(&h, p, sizeof(h));
		if (h.n_namesz > MAX_NOTES || h.n_descsz > MAX_NOTES)
			return 0;
		name = sizeof(h);
		desc = name + align4(h.n_namesz);
		if (desc + align4(h.n_descsz) > len)
			return 0;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && !memcmp(p + name, "GNU", 4)) {
			if (h.n_descsz > room)
				return 0;
			memcpy(out, p + desc, h.n_descsz);
			return h.n_descsz;
		}
		p += desc + align4(h.n_descsz);
		len -= desc + align4(h.n_descsz);
	}
	return 0;
}

size_t cor_build_id(int fd, uint8_t *out, size_t room)
{
	Elf64_Phdr ph[MAX_SEGMENTS];
	uint8_t notes[MAX_NOTES];
	Elf64_Ehdr eh;
	size_t n;

	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phentsize != sizeof(Elf64_Phdr) ||
	    eh.e_phnum > MAX_SEGMENTS)
		return 0;
	n = eh.e_phnum * sizeof(Elf64_Phdr);
	if (pread(fd, ph, n, (off_t)eh.e_phoff) != (ssize_t)n)
		return 0;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		size_t len = COR_MIN((size_t)ph[i].p_filesz, sizeof(notes)), found;
		ssize_t got;

		if (ph[i].p_type != PT_NOTE)
			continue;
		got = pread(fd, notes, len, (off_t)ph[i].p_offset);
		if (got != (ssize_t)len)
			continue;
		found = find_note(notes, len, out, room);
		if (found)
			return found;
	}
	return 0;
}
