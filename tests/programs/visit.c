/* See visit.h. */
#include "visit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sockaddr_storage visit_address;
socklen_t visit_length;

bool visit_stops_soon(void)
{
	for (unsigned i = 0; i < 200 && !check_stopping(); i++)
		usleep(10000);
	return check_stopping();
}

int visit_socket(int type)
{
	int fd = socket(visit_address.ss_family, type, 0);

	need(fd >= 0);
	return fd;
}

static void parse_address(const char *text, uint16_t port)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&visit_address;
	struct sockaddr_in *sin = (struct sockaddr_in *)&visit_address;

	if (inet_pton(AF_INET, text, &sin->sin_addr) == 1) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		visit_length = sizeof(*sin);
	} else {
		need(inet_pton(AF_INET6, text, &sin6->sin6_addr) == 1);
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		visit_length = sizeof(*sin6);
	}
}

int visit_main(int argc, char **argv, const char *program, const struct visit_kind *kinds,
	       unsigned n, unsigned listed)
{
	int first = check_init(argc, argv, program);

	if (argc > 1 && !strcmp(argv[1], "-l")) {
		for (unsigned i = 0; i < listed; i++)
			puts(kinds[i].name);
		return 0;
	}
	if (argc - first != 4) {
		fprintf(stderr, "%s [-p FILE] serve|visit KIND ADDRESS PORT\n", program);
		return 2;
	}
	parse_address(argv[first + 2], (uint16_t)atoi(argv[first + 3]));
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(kinds[i].name, argv[first + 1]))
			continue;
		if (!strcmp(argv[first], "serve"))
			kinds[i].serve();
		else
			kinds[i].visit();
		check_done("%s %s", argv[first], argv[first + 1]);
	}
	fprintf(stderr, "%s: unknown kind\n", program);
	return 2;
}
