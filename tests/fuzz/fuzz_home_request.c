/* Requests to a home's file server, as its peer sends them: any number of headers, each
 * with a body. The tree is a scratch directory; that nothing is reached beside it is
 * looked at by a file beside it. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/names/home/private.h"
#include "tests/fuzz/fuzz.h"

static char top[] = "/dev/shm/cor-fuzz-home-XXXXXX", beside[64], tree[64];
static struct home_server *server;
static ino_t beside_ino;

/* Nothing big is made, and nothing waits. */
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
	errno = ENOSPC;
	return -1;
}

static int remove_it(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	return w->level ? remove(path) : 0;
}

static void clean_up(void)
{
	nftw(top, remove_it, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	rmdir(top);
}

static void begin(void)
{
	int fd, root, proc;

	umask(0);
	FUZZ_CHECK(mkdtemp(top));
	atexit(clean_up);
	snprintf(beside, sizeof(beside), "%s/beside", top);
	snprintf(tree, sizeof(tree), "%s/tree", top);
	FUZZ_CHECK(mkdir(tree, 0755) == 0);
	fd = open(beside, O_WRONLY | O_CREAT, 0644);
	FUZZ_CHECK(fd >= 0 && write(fd, "beside", 6) == 6);
	close(fd);
	root = open(tree, O_PATH | O_DIRECTORY);
	proc = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	FUZZ_CHECK(root >= 0 && proc >= 0);
	FUZZ_CHECK(home_server_new(&server, root, proc, NULL) == 0);
}

static void one(struct home_client *client, struct fuzz_input *in)
{
	struct home_request q;
	struct home_call c = { .server = server, .client = client, .q = &q };
	char *body;
	size_t len;

	fuzz_take(in, &q, sizeof(q));
	/* small numbers meet what is there */
	q.op %= HOME_OPS + 2;
	q.node %= 16;
	q.handle %= 16;
	q.uid = q.gid = 0;
	if (q.op == HOME_SETLK || q.op == HOME_FLOCK)
		q.arg[1] = 0;
	len = fuzz_u8(in);
	len = len < in->size ? len : in->size;
	body = fuzz_text(in->data, len);
	in->data += len;
	in->size -= len;
	c.body = body;
	c.len = len;
	c.reply.status = home_run(&c);
	FUZZ_CHECK(c.reply.status <= 0 && !c.later);
	FUZZ_CHECK(c.out_len <= HOME_BODY_MAX);
	free(c.out);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct home_client client = { .server = server };
	struct fuzz_input in = { data, size };
	struct stat st;

	if (!server)
		begin();
	client.server = server;
	pthread_mutex_init(&client.send, NULL);
	for (unsigned i = 0; i < 16 && in.size; i++)
		one(&client, &in);
	pthread_mutex_lock(&server->lock);
	home_client_clear(&client);
	pthread_mutex_unlock(&server->lock);
	pthread_mutex_destroy(&client.send);
	/* whoever listens to inotify has let go */
	home_watch_drain(server);
	/* all that was opened is closed, and the numbers begin anew */
	FUZZ_CHECK(HASH_CNT(by_id, server->by_id) == 1 && !server->handles);
	server->next_node = HOME_ROOT + 1;
	server->next_handle = 1;
	nftw(tree, remove_it, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	FUZZ_CHECK(stat(beside, &st) == 0 && st.st_size == 6 && st.st_nlink == 1);
	beside_ino = beside_ino ? beside_ino : st.st_ino;
	FUZZ_CHECK(beside_ino == st.st_ino);
	return 0;
}
