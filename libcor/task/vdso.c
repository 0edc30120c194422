/* vDSO images: functions, and redirecting them; see vdso.h. */
#include "libcor/task/vdso.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "libcor/base/error.h"

#define FAR_JUMP  13u    /* movabs $addr, %r11; jmp *%r11: no function takes an argument in r11 */
#define NEAR_JUMP 5u     /* jmp rel32 */

static bool fits(const struct cor_vdso *v, uint64_t at, uint64_t len)
{
	return at <= v->len && len <= v->len - at;
}

static bool fetch(const struct cor_vdso *v, uint64_t at, void *out, size_t len)
{
	if (!fits(v, at, len))
		return false;
	memcpy(out, v->image + at, len);
	return true;
}

static int malformed(struct cor_error *err, const char *what)
{
	return cor_fail(err, -ENOEXEC, "the vDSO's image has %s", what);
}

struct dynamic { uint64_t symtab, strtab, strsz, hash, gnu_hash; };

static int read_segments(struct cor_vdso *v, uint64_t *dyn, uint64_t *dyn_len,
			 struct cor_error *err)
{
	bool load = false;
	Elf64_Ehdr eh;

	if (!fetch(v, 0, &eh, sizeof(eh)) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh.e_machine != EM_X86_64 || eh.e_type != ET_DYN)
		return malformed(err, "no ELF header of x86-64");
	if (eh.e_phentsize != sizeof(Elf64_Phdr))
		return malformed(err, "program headers of another size");
	*dyn_len = 0;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		if (eh.e_phoff > v->len || !fetch(v, eh.e_phoff + i * sizeof(ph), &ph, sizeof(ph)))
			return malformed(err, "program headers outside it");
		if (ph.p_type == PT_LOAD && !load) {
			v->bias = ph.p_vaddr - ph.p_offset;
			load = true;
		} else if (ph.p_type == PT_DYNAMIC) {
			*dyn = ph.p_offset;
			*dyn_len = ph.p_filesz;
		}
	}
	if (!load || !*dyn_len || !fits(v, *dyn, *dyn_len))
		return malformed(err, "no proper dynamic section");
	return 0;
}

static int read_dynamic(const struct cor_vdso *v, uint64_t at, uint64_t len, struct dynamic *d,
			struct cor_error *err)
{
	Elf64_Dyn dyn;

	for (uint64_t i = 0; i + sizeof(dyn) <= len; i += sizeof(dyn)) {
		if (!fetch(v, at + i, &dyn, sizeof(dyn)) || dyn.d_tag == DT_NULL)
			break;
		switch (dyn.d_tag) {
		case DT_SYMTAB:
			d->symtab = dyn.d_un.d_ptr - v->bias;
			break;
		case DT_STRTAB:
			d->strtab = dyn.d_un.d_ptr - v->bias;
			break;
		case DT_STRSZ:
			d->strsz = dyn.d_un.d_val;
			break;
		case DT_HASH:
			d->hash = dyn.d_un.d_ptr - v->bias;
			break;
		case DT_GNU_HASH:
			d->gnu_hash = dyn.d_un.d_ptr - v->bias;
			break;
		}
	}
	if (!d->symtab || !d->strtab || !d->strsz || !fits(v, d->strtab, d->strsz))
		return malformed(err, "no proper symbol table");
	return 0;
}

/* A GNU hash table says how many symbols there are only by its longest chain. */
static int count_gnu(const struct cor_vdso *v, uint64_t at, uint32_t *count)
{
	struct { uint32_t nbuckets, offset, nbloom, shift; } h;
	uint64_t buckets, chains;
	uint32_t last = 0, word;

	if (!fetch(v, at, &h, sizeof(h)) || h.nbloom > v->len || h.nbuckets > v->len)
		return -ENOEXEC;
	buckets = at + sizeof(h) + h.nbloom * 8ull;
	chains = buckets + h.nbuckets * 4ull;
	for (uint32_t i = 0; i < h.nbuckets; i++) {
		if (!fetch(v, buckets + i * 4ull, &word, 4))
			return -ENOEXEC;
		last = word > last ? word : last;
	}
	if (last < h.offset) {
		*count = h.offset;
		return 0;
	}
	do {
		if (!fetch(v, chains + (last - h.offset) * 4ull, &word, 4))
			return -ENOEXEC;
		last++;
	} while (!(word & 1));
	*count = last;
	return 0;
}

static int count_symbols(const struct cor_vdso *v, const struct dynamic *d, uint32_t *count)
{
	uint32_t head[2];

	if (d->hash) {
		if (!fetch(v, d->hash, head, sizeof(head)))
			return -ENOEXEC;
		*count = head[1];       /* as many chain links as symbols */
		return 0;
	}
	return d->gnu_hash ? count_gnu(v, d->gnu_hash, count) : -ENOEXEC;
}

int cor_vdso_parse(struct cor_vdso *out, const void *image, size_t len, struct cor_error *err)
{
	struct cor_vdso v = { .image = image, .len = len };
	struct dynamic d = { 0 };
	uint64_t dyn = 0, dyn_len = 0;
	uint32_t count;
	int r = read_segments(&v, &dyn, &dyn_len, err);

	if (r == 0)
		r = read_dynamic(&v, dyn, dyn_len, &d, err);
	if (r < 0)
		return r;
	if (count_symbols(&v, &d, &count) < 0 ||
	    !fits(&v, d.symtab, count * (uint64_t)sizeof(Elf64_Sym)))
		return malformed(err, "a hash or symbol table that leads outside it");
	v.symbols = d.symtab;
	v.nsymbols = count;
	v.strings = d.strtab;
	v.strings_len = d.strsz;
	*out = v;
	return 0;
}

bool cor_vdso_function(const struct cor_vdso *v, unsigned i, struct cor_vdso_function *f)
{
	const char *name;
	Elf64_Sym s;

	if (!fetch(v, v->symbols + i * sizeof(s), &s, sizeof(s)))
		return false;
	if (ELF64_ST_TYPE(s.st_info) != STT_FUNC || s.st_shndx == SHN_UNDEF ||
	    ELF64_ST_BIND(s.st_info) == STB_LOCAL)
		return false;
	if (s.st_name >= v->strings_len || s.st_value < v->bias ||
	    !fits(v, s.st_value - v->bias, s.st_size))
		return false;
	name = (const char *)v->image + v->strings + s.st_name;
	if (!memchr(name, 0, v->strings_len - s.st_name))
		return false;
	*f = (struct cor_vdso_function){ name, s.st_value - v->bias, s.st_size };
	return true;
}

bool cor_vdso_find(const struct cor_vdso *v, const char *name, struct cor_vdso_function *f)
{
	for (unsigned i = 0; i < v->nsymbols; i++)
		if (cor_vdso_function(v, i, f) && !strcmp(f->name, name))
			return true;
	return false;
}

static int write_jump(unsigned char *at, const struct cor_vdso_function *f, uint64_t from,
		      uint64_t to, struct cor_error *err)
{
	int64_t distance = (int64_t)(to - (from + NEAR_JUMP));

	if (f->size >= FAR_JUMP) {
		memcpy(at, "\x49\xbb", 2);
		memcpy(at + 2, &to, 8);
		memcpy(at + 10, "\x41\xff\xe3", 3);
		return 0;
	}
	if (f->size >= NEAR_JUMP && distance == (int32_t)distance) {
		int32_t rel = (int32_t)distance;

		at[0] = 0xe9;
		memcpy(at + 1, &rel, 4);
		return 0;
	}
	return cor_fail(err, -ENOTSUP, "the vDSO's function %s has %zu bytes: too few for a jump",
			f->name, f->size);
}

int cor_vdso_redirect(void *old, size_t old_len, uint64_t old_base,
		      const void *now, size_t now_len, uint64_t now_base,
		      struct cor_error *err)
{
	struct cor_vdso from, to;
	int n = 0, r = cor_vdso_parse(&from, old, old_len, err);

	if (r == 0)
		r = cor_vdso_parse(&to, now, now_len, err);
	for (unsigned i = 0; r == 0 && i < from.nsymbols; i++) {
		struct cor_vdso_function f, g;

		if (!cor_vdso_function(&from, i, &f) || !cor_vdso_find(&to, f.name, &g))
			continue;
		r = write_jump((unsigned char *)old + f.offset, &f, old_base + f.offset,
			       now_base + g.offset, err);
		n++;
	}
	return r < 0 ? r : n;
}

bool cor_vdso_in_jump(const struct cor_vdso *old, const struct cor_vdso *now, size_t offset)
{
	for (unsigned i = 0; i < old->nsymbols; i++) {
		struct cor_vdso_function f, g;
		size_t len;

		if (!cor_vdso_function(old, i, &f) || !cor_vdso_find(now, f.name, &g))
			continue;
		len = f.size >= FAR_JUMP ? FAR_JUMP : NEAR_JUMP;
		if (offset > f.offset && offset < f.offset + len)
			return true;
	}
	return false;
}
