/* What cannot be carried since it is nobody's: connections that are being made, or
 * were not accepted yet, and those that the task has closed while bytes were still to
 * be sent. All come to an end by themselves, the first two soon, when no new ones
 * begin. See net/departure.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/net/departure_private.h"
#include "libcor/names/net/inet_diag.h"
#include "libcor/names/net/tcp_repair.h"

#define PAUSE_US         300
#define DEAD_AFTER_MS    5000   /* a peer that was silent for so long is not waited for */

#define BEING_MADE (1u << TCP_SYN_RECV)
#define WITH_A_PROCESS (~(1u << TCP_TIME_WAIT | BEING_MADE))
#define ENDING     (1u << TCP_FIN_WAIT1 | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK)

/* Can clients reach that listening socket by an address that moves? */
static bool is_reached(const struct cor_departure *d, const Cor__Names__OpenFile *file)
{
	struct cor_inet_addr at;

	return file->kind == COR__NAMES__FILE_KIND__INET && file->listening &&
	       cor_inet_addr_of(&file->address, &at) == 0 &&
	       (cor_inet_addr_is_any(&at) || cor_departure_moves(d, &at));
}

/* A duplicate of the task's descriptor, if it is that socket still; -EBADF: it is not. */
static int duplicate_of(pid_t pid, int number, uint64_t ino, struct cor_error *err)
{
	_cleanup_close_ int dup = cor_files_duplicate(pid, number, err);
	struct stat st;

	if (dup < 0)
		return dup;
	return fstat(dup, &st) < 0 || st.st_ino != ino ? -EBADF : take_fd(&dup);
}

static int gate_one(struct cor_departure *d, const Cor__Names__FileTable *table, unsigned index,
		    struct cor_error *err)
{
	const Cor__Names__OpenFile *file = table->files[index];
	int number = cor_file_number(table, index), r;
	_cleanup_close_ int dup = duplicate_of(d->pid, number, file->ino, err);
	struct cor_inet_addr at;

	/* the freeze, which finds another one not gated, comes again */
	if (dup < 0)
		return dup == -EBADF ? 0 : dup;
	r = cor_tcp_gate(dup);
	if (r < 0)
		return cor_fail_code(err, r, "descriptor %d: keeping new clients off", number);
	cor_inet_addr_of(&file->address, &at);
	d->gates[d->ngated++] = (struct gate){ .number = number, .ino = file->ino, .port = at.port };
	return 0;
}

bool cor_departure_wants_gates(const struct cor_departure *d, const Cor__Names__FileTable *table)
{
	for (unsigned i = 0; d->naddresses && i < table->n_files; i++)
		if (is_reached(d, table->files[i]))
			return true;
	return false;
}

int cor_departure_gate(struct cor_departure *d, pid_t pid, const Cor__Names__FileTable *table,
		       struct cor_error *err)
{
	int r = 0;

	free(d->gates);
	d->ngated = 0;
	d->pid = pid;
	d->gates = calloc(table->n_files + 1, sizeof(*d->gates));
	if (!d->gates)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; r == 0 && i < table->n_files; i++)
		if (is_reached(d, table->files[i]))
			r = gate_one(d, table, i, err);
	if (r < 0)
		cor_departure_ungate(d);
	return r;
}

bool cor_departure_has_gates(const struct cor_departure *d)
{
	return d->ngated;
}

void cor_departure_ungate(struct cor_departure *d)
{
	for (unsigned i = 0; i < d->ngated; i++) {
		_cleanup_close_ int dup = duplicate_of(d->pid, d->gates[i].number, d->gates[i].ino, NULL);

		if (dup >= 0)
			cor_tcp_ungate(dup);
	}
	d->ngated = 0;
}

/* One that is in the way. */
struct search {
	const struct cor_departure *d;
	bool found;
	const struct gate *gate;
	struct cor_inet_socket socket;
};

static bool listens_at(const struct cor_departure *d, uint16_t port)
{
	for (unsigned i = 0; i < d->ngated; i++)
		if (d->gates[i].port == port)
			return true;
	return false;
}

static bool is_being_made(void *arg, const struct cor_inet_socket *s)
{
	struct search *search = arg;

	search->found = cor_departure_moves(search->d, &s->ours) &&
			listens_at(search->d, s->ours.port);
	search->socket = *s;
	return search->found;
}

static bool is_left_behind(void *arg, const struct cor_inet_socket *s)
{
	struct search *search = arg;

	search->found = s->ino == 0 && s->to_send && s->silent_ms < DEAD_AFTER_MS &&
			cor_departure_moves(search->d, &s->ours);
	search->socket = *s;
	return search->found;
}

static int fail_waiting(const struct search *search, const char *what, struct cor_error *err)
{
	const struct cor_inet_addr *ours = &search->socket.ours, *theirs = &search->socket.theirs;
	char here[INET6_ADDRSTRLEN] = "?", there[INET6_ADDRSTRLEN] = "?";

	inet_ntop(ours->family, ours->bytes, here, sizeof(here));
	inet_ntop(theirs->family, theirs->bytes, there, sizeof(there));
	return cor_fail(err, -EAGAIN, "a TCP connection from %s port %u to %s port %u %s; try again",
			here, ntohs(ours->port), there, ntohs(theirs->port), what);
}

static int await_ended(struct cor_departure *d, uint64_t until, struct cor_error *err)
{
	for (;;) {
		struct search search = { .d = d };
		int r = cor_inet_diag(ENDING, is_left_behind, &search, err);

		if (r < 0 || !search.found)
			return r;
		if (cor_now_ns() > until)
			return fail_waiting(&search, "was closed by the task and has bytes to send "
					    "still", err);
		usleep(PAUSE_US);
	}
}

/* A gate whose task has not accepted all connections. */
static bool is_unaccepted(void *arg, const struct cor_inet_socket *s)
{
	struct search *search = arg;

	for (unsigned i = 0; s->waiting && !search->gate && i < search->d->ngated; i++)
		if (search->d->gates[i].ino == s->ino)
			search->gate = &search->d->gates[i];
	search->socket = *s;
	return search->gate;
}

int cor_departure_accepted(struct cor_departure *d, int timeout_ms, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + (uint64_t)timeout_ms * 1000000u;

	for (;;) {
		struct search search = { .d = d };
		int r = cor_inet_diag(BEING_MADE, is_being_made, &search, err);

		/* in this order: what is made goes to the queue */
		if (r == 0 && !search.found)
			r = cor_inet_diag(1u << TCP_LISTEN, is_unaccepted, &search, err);
		if (r < 0 || (!search.found && !search.gate))
			return r;
		if (cor_now_ns() > until && search.gate)
			return cor_fail(err, -EAGAIN, "descriptor %d is a TCP socket listening on port "
					"%u with %u connections that the task does not accept; try "
					"again", search.gate->number, ntohs(search.gate->port),
					search.socket.waiting);
		if (cor_now_ns() > until)
			return fail_waiting(&search, "is still being made", err);
		usleep(PAUSE_US);
	}
}

/* Loading the program takes longer than it would be wanted in a freeze. */
static void load_silencer(struct cor_departure *d, const Cor__Names__FileTable *table)
{
	for (size_t i = 0; d->silencer < 0 && i < table->n_files; i++)
		if (table->files[i]->kind == COR__NAMES__FILE_KIND__TCP || table->files[i]->listening)
			d->silencer = cor_tcp_silencer();
}

static unsigned count_sockets(const Cor__Names__FileTable *table)
{
	unsigned n = 0;

	for (size_t i = 0; i < table->n_files; i++)
		n += table->files[i]->kind == COR__NAMES__FILE_KIND__TCP || table->files[i]->listening;
	return n;
}

/* TCP_MD5SIG cannot be asked for: only sock_diag(7) tells. */
struct signatures {
	const Cor__Names__FileTable *table;
	int index;
};

static bool is_signed(void *arg, const struct cor_inet_socket *s)
{
	struct signatures *sig = arg;

	/* the lowest, as the order of the answers is any; what is forwarded stays as it is */
	for (unsigned i = 0; s->signed_ && i < sig->table->n_files; i++)
		if (sig->table->files[i]->ino == s->ino && S_ISSOCK(sig->table->files[i]->mode) &&
		    sig->table->files[i]->kind != COR__NAMES__FILE_KIND__PUMPED &&
		    (sig->index < 0 || (int)i < sig->index))
			sig->index = (int)i;
	return false;
}

static int refuse_signed(struct cor_departure *d, const Cor__Names__FileTable *table,
			 struct cor_error *err)
{
	struct signatures sig = { .table = table, .index = -1 };
	int r = d->looked ? 0 : cor_inet_diag(WITH_A_PROCESS, is_signed, &sig, err);

	d->looked = r == 0;
	if (r < 0 || sig.index < 0)
		return r;
	return cor_fail(err, -EOPNOTSUPP, "descriptor %d is a TCP socket whose segments are signed "
			"(TCP_MD5SIG), which is not carried", cor_file_number(table,
									     (unsigned)sig.index));
}

/* Where that is not possible, peers send again. */
static void hold(struct cor_departure *d)
{
	cor_packet_hold_free(d->hold);
	d->hold = NULL;
	if (d->nhwaddr == d->naddresses &&
	    cor_packet_hold_new(&d->hold, d->addresses, d->naddresses, NULL) < 0)
		d->hold = NULL;
	for (unsigned i = 0; d->hold && i < d->naddresses; i++)
		cor_packet_hold_next(d->hold, i, d->hwaddr[i]);
}

int cor_departure_settle(struct cor_departure *d, const Cor__Names__FileTable *table, int timeout_ms,
			 struct cor_error *err)
{
	uint64_t wait_ns = (uint64_t)timeout_ms * 1000000u;
	unsigned n = count_sockets(table);
	int r;

	if (n == 0)
		return 0;
	r = refuse_signed(d, table, err);
	if (r < 0)
		return r;
	load_silencer(d, table);
	/* a duplicate of each will be had */
	cor_reserve_descriptors(n * 5 / 4 + 64);
	if (d->naddresses == 0)
		return 0;
	r = await_ended(d, cor_now_ns() + wait_ns, err);
	if (r == 0)
		hold(d);
	return r;
}
