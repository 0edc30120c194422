/* The parts of ADDR:PORT; see net/address.h. */
#include "daemon/address.h"

#include <stddef.h>

#include "libcor/transport/tcp.h"

bool cord_address_valid(const char *address)
{
	struct cor_addrport parts;

	return cor_addrport_parse(address, &parts, NULL) == 0;
}

int cord_address_is_loopback(const char *address)
{
	return cor_addrport_is_loopback(address);
}
