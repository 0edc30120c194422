/* Seeds from a real task: capture_seeds PID DIRECTORY writes its skeleton, its
 * image with most pages cut off, and its table of descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/files.h"
#include "libcor/task/capture.h"

#define PAGES_KEPT 1u

static struct cor_error err = COR_ERROR_INIT;

static void must(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "capture_seeds: %s\n", err.text);
	exit(1);
}

static void write_seed(const char *dir, const char *name, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	_cleanup_free_ uint8_t *buf = malloc(len + 1);
	_cleanup_close_ int fd = -1;
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (!buf || fd < 0) {
		perror(path);
		exit(1);
	}
	protobuf_c_message_pack(m, buf);
	must(cor_write_full(fd, buf, len));
}

static void cut(Cor__Task__PageData **pages, size_t *n)
{
	while (*n > PAGES_KEPT)
		cor__task__page_data__free_unpacked(pages[--*n], NULL);
	for (size_t i = 0; i < *n; i++)
		if (pages[i]->data.len > 64)
			pages[i]->data.len = 64;
}

int main(int argc, char **argv)
{
	const struct cor_capture_options o = { .inline_written_max = 16 };
	struct cor_tracee *t;
	Cor__Task__Image *skeleton, *image;
	Cor__Names__FileTable *files;
	struct cor_files_object *extra = NULL;
	unsigned nextra = 0;
	pid_t pid;

	if (argc != 3) {
		fprintf(stderr, "usage: capture_seeds PID DIRECTORY\n");
		return 2;
	}
	pid = atoi(argv[1]);
	must(cor_capture_skeleton(pid, &o, &skeleton, &err));
	must(cor_tracee_seize(&t, pid, &err));
	must(cor_tracee_stop(t, 5000, &err));
	must(cor_capture_image(t, &o, skeleton, &image, &err));
	must(cor_files_capture(pid, true, NULL, 0, &extra, &nextra, &files, &err));
	cor_tracee_thaw(t);
	cut(image->pages, &image->n_pages);
	cut(image->eager, &image->n_eager);
	image->memory->vdso.len = image->memory->vdso.len < 4096 ? image->memory->vdso.len : 4096;
	write_seed(argv[2], "image/seed-skeleton", &skeleton->base);
	write_seed(argv[2], "image/seed-image", &image->base);
	write_seed(argv[2], "files/seed-files", &files->base);
	cor__task__image__free_unpacked(skeleton, NULL);
	cor__task__image__free_unpacked(image, NULL);
	cor__names__file_table__free_unpacked(files, NULL);
	free(extra);
	return 0;
}
