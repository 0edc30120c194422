/* The table of kinds, and what depends on a file's kind. */
#include "libcor/names/file_ops.h"

const struct cor_file_ops *const cor_file_kinds[] = {
	&cor_file_memory,       /* before regular: its files have paths too */
	&cor_file_regular,
	&cor_file_pump,         /* before the kinds that it carries for */
	&cor_file_device,
	&cor_file_pipe,
	&cor_file_event, &cor_file_eventfd,
	&cor_file_epoll,
	&cor_file_inotify,
	&cor_file_tcp,          /* before inet: those that are or were connected */
	&cor_file_inet,
	&cor_file_socketpair,   /* before unix: connected ones */
	&cor_file_unix,
	&cor_file_socket,       /* after all sockets: refuses the others */
	NULL,
};

const struct cor_file_ops *cor_file_ops_of(Cor__Names__FileKind kind)
{
	if ((unsigned)kind >= 32)
		return NULL;
	for (unsigned i = 0; cor_file_kinds[i]; i++)
		if (cor_file_kinds[i]->kinds & (1u << kind))
			return cor_file_kinds[i];
	return NULL;
}

enum cor_mechanism cor_file_mechanism(const Cor__Names__OpenFile *file)
{
	const struct cor_file_ops *ops = cor_file_ops_of(file->kind);

	if (!ops)
		return COR_MECHANISM_DESCRIPTORS;
	return ops->mechanism_of ? ops->mechanism_of(file) : ops->mechanism;
}
