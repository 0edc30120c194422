/* Addresses that move: as text, found, chosen, removed, put back. */
#include "net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcor/names/net/address.h"

static int rtnl = -1;
static struct cor_error err;

static void on(enum net_host host)
{
	net_ready();
	net_enter(host);
	rtnl = cor_rtnl_open();
	assert_true(rtnl >= 0);
	err = (struct cor_error)COR_ERROR_INIT;
}

static int teardown(void **state)
{
	if (rtnl >= 0)
		close(rtnl);
	rtnl = -1;
	return 0;
}

static struct cor_address parse(const char *text)
{
	struct cor_address a;

	assert_int_equal(cor_address_parse(text, &a, &err), 0);
	return a;
}

static void as_text(void **state)
{
	static const char *good[] = { "10.0.0.5/24", "10.0.0.5/32@eth1", "fd00::5/64", "fd00::5/128@br0" };
	static const char *bad[] = { "", "10.0.0.5", "10.0.0.5/", "10.0.0.5/33", "10.0.0.5/0",
				     "10.0.0.5/24x", "10.0.0.5/24@", "10.0.0.5/24@interface-too-long",
				     "host/24", "127.0.0.1/8", "0.0.0.0/8", "::1/128", "::/64",
				     "fe80::1/64", "a@b/24" };
	char text[COR_ADDRESS_TEXT];

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct cor_address a = parse(good[i]);

		cor_address_print(&a, text);
		assert_string_equal(text, good[i]);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cor_address a;

		assert_int_equal(cor_address_parse(bad[i], &a, &err), -EINVAL);
		assert_true(err.text[0]);
	}
}

static void there_and_back(void **state)
{
	struct cor_address a = parse("10.9.0.50/24"), again;

	on(SOURCE);
	net_ip(SOURCE, "addr add 10.9.0.50/24 brd 10.9.0.255 dev eth0 label eth0:f");
	assert_int_equal(cor_address_locate(&a, rtnl, &err), 0);
	assert_string_equal(a.ifname, "eth0");
	assert_int_equal(cor_address_remove(&a, rtnl, &err), 0);
	again = parse("10.9.0.50/24");
	assert_int_equal(cor_address_locate(&again, rtnl, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err.text, "10.9.0.50/24 is no address of this host"));
	assert_int_equal(cor_address_put_back(&a, rtnl, &err), 0);
	assert_int_equal(cor_address_locate(&again, rtnl, &err), 0);
	assert_int_equal(again.back.h.nlmsg_len, a.back.h.nlmsg_len);
	assert_int_equal(cor_address_put_back(&a, rtnl, &err), -EEXIST);
	net_ip(SOURCE, "addr show label eth0:f | grep -q 10.9.0.50");
	assert_int_equal(cor_address_remove(&a, rtnl, &err), 0);
}

static void v6(void **state)
{
	struct cor_address a = parse("fd09::50/64");

	on(SOURCE);
	net_ip(SOURCE, "addr add fd09::50/64 dev eth0 nodad");
	assert_int_equal(cor_address_locate(&a, rtnl, &err), 0);
	assert_int_equal(cor_address_remove(&a, rtnl, &err), 0);
	assert_int_equal(cor_address_put_back(&a, rtnl, &err), 0);
	net_ip(SOURCE, "addr show dev eth0 | grep fd09::50/64 | grep -qv tentative");
	assert_int_equal(cor_address_remove(&a, rtnl, &err), 0);
}

static void other_prefix(void **state)
{
	struct cor_address a = parse("10.9.0.2/16");

	on(SOURCE);
	assert_int_equal(cor_address_locate(&a, rtnl, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err.text, "24 bits"));
}

/* The first address of a network takes the others along. */
static void primary(void **state)
{
	struct cor_address a = parse("10.9.0.2/24");

	on(SOURCE);
	net_ip(SOURCE, "addr add 10.9.0.51/24 dev eth0");
	assert_int_equal(cor_address_locate(&a, rtnl, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "promote_secondaries"));
	net_ip(SOURCE, "addr del 10.9.0.51/24 dev eth0");
	assert_int_equal(cor_address_locate(&a, rtnl, &err), 0);
}

static void chosen(void **state)
{
	struct cor_address a = parse("10.9.0.50/24"), other = parse("10.77.0.5/24");
	struct cor_address named = parse("10.77.0.5/24@eth0"), none = parse("10.77.0.5/24@eth7");
	struct cor_address lo = parse("10.77.0.5/24@lo"), here = parse("10.9.0.3/24");
	struct cor_address loopback;

	on(DESTINATION);
	assert_int_equal(cor_address_place(&a, rtnl, NULL, &err), 0);
	assert_string_equal(a.ifname, "eth0");
	assert_int_equal(cor_address_place(&other, rtnl, NULL, &err), -ENODEV);
	loopback = parse("10.9.0.3/24");
	assert_int_equal(cor_address_place(&other, rtnl, &loopback.host, &err), 0);
	assert_string_equal(other.ifname, "eth0");
	assert_int_equal(cor_address_place(&named, rtnl, NULL, &err), 0);
	assert_int_equal(cor_address_place(&none, rtnl, NULL, &err), -ENODEV);
	assert_non_null(strstr(err.text, "eth7"));
	assert_int_equal(cor_address_place(&lo, rtnl, NULL, &err), -EOPNOTSUPP);
	assert_int_equal(cor_address_place(&here, rtnl, NULL, &err), -EADDRINUSE);
}

static int announce(const struct cor_address *a)
{
	int fd = cor_address_announcer(), r = cor_address_announce(a, fd, &err);

	close(fd);
	return r;
}

/* Neighbours that knew it elsewhere learn of it. */
static void announced(void **state)
{
	struct cor_address a = parse("10.9.0.50/24"), b = parse("fd09::50/64");

	on(DESTINATION);
	net_ip(CLIENT, "neigh replace 10.9.0.50 lladdr 02:00:00:00:00:01 dev eth0 nud reachable");
	net_ip(CLIENT, "neigh replace fd09::50 lladdr 02:00:00:00:00:01 dev eth0 nud reachable");
	assert_int_equal(cor_address_place(&a, rtnl, NULL, &err), 0);
	assert_int_equal(cor_address_place(&b, rtnl, NULL, &err), 0);
	assert_int_equal(cor_address_add(&a, rtnl, &err), 0);
	assert_int_equal(cor_address_add(&b, rtnl, &err), 0);
	assert_int_equal(announce(&a), 0);
	assert_int_equal(announce(&b), 0);
	usleep(20000);
	for (unsigned i = 0; i < 2; i++)
		net_ip(CLIENT, "neigh show %s dev eth0 | grep -q %02x:%02x:%02x:%02x:%02x:%02x",
		       i ? "fd09::50" : "10.9.0.50", a.hwaddr[0], a.hwaddr[1], a.hwaddr[2],
		       a.hwaddr[3], a.hwaddr[4], a.hwaddr[5]);
	assert_int_equal(cor_address_remove(&a, rtnl, &err), 0);
	assert_int_equal(cor_address_remove(&b, rtnl, &err), 0);
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(as_text), TEST(there_and_back), TEST(v6), TEST(other_prefix), TEST(primary),
		TEST(chosen), TEST(announced),
	};

	return cmocka_run_group_tests(tests, net_setup, net_teardown);
}
