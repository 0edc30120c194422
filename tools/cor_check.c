/* cor check: what this kernel and host can do. */
#include "tools/cor.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "libcor/base/error.h"
#include "libcor/base/probe.h"
#include "libcor/names/mechanism.h"
#include "libcor/transport/choice.h"
#include "tools/output.h"

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	if (key != 'j')
		return ARGP_ERR_UNKNOWN;
	*json = true;
	return 0;
}

/* Those that may be named; fabric has as many providers as libfabric, these are the ones
 * that cor is tested with. */
static const struct { const char *name, *purpose; } transports[] = {
	{ "tcp", "always there" },
	{ "verbs", "RDMA, by libibverbs" },
	{ "fabric:verbs", "RDMA, by libfabric" },
	{ "fabric:efa", "AWS's adapters, by libfabric" },
	{ "fabric:tcp", "libfabric's TCP: only where it is asked for" },
	{ "fabric:shm", "two cords on one host: only where it is asked for" },
};
#define NTRANSPORTS (sizeof(transports) / sizeof(transports[0]))

/* Opening one may need a library that takes its time to load: not before a glance has
 * told that it is worth it. */
static int try_transport(const char *name, struct cor_error *err)
{
	if (!cor_transport_plausible(name) && cor_transport_is_built(name))
		return cor_fail(err, -ENODEV, "this host has no RDMA adapter");
	return cor_transport_probe(name, err);
}

static json_t *transports_json(void)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < NTRANSPORTS; i++)
		json_object_set_new(o, transports[i].name,
				    json_boolean(try_transport(transports[i].name, NULL) == 0));
	return o;
}

static void print_transports(void)
{
	printf("\ntransports of pages\n");
	for (unsigned i = 0; i < NTRANSPORTS; i++) {
		struct cor_error why = COR_ERROR_INIT;
		bool have = try_transport(transports[i].name, &why) == 0;

		printf("%-14s %-4s %s%s%s%s\n", transports[i].name, have ? "yes" : "no",
		       transports[i].purpose, have ? "" : " (", have ? "" : why.text,
		       have ? "" : ")");
	}
}

static void print_json(const struct cor_features *f, int missing)
{
	json_t *features = json_object(), *mechanisms = json_object(), *o;
	const struct cor_feature *list;
	unsigned n;

	list = cor_feature_list(&n);
	for (unsigned i = 0; i < n; i++)
		json_object_set_new(features, list[i].name, json_boolean(list[i].present(f)));
	for (unsigned i = 0; i < COR_MECHANISMS; i++)
		json_object_set_new(mechanisms, cor_mechanism_table[i].name,
				    json_integer(cor_mechanism_table[i].version));
	o = json_pack("{s:b, s:s, s:s, s:o, s:o, s:o}", "ok", missing == 0,
		      "version", cor_version(), "kernel", f->kernel, "features", features,
		      "mechanisms", mechanisms, "transports", transports_json());
	output_json(o);
	json_decref(o);
}

static void print_table(const struct cor_features *f)
{
	const struct cor_feature *list;
	unsigned n;

	printf("cor %s on Linux %s\n", cor_version(), f->kernel);
	list = cor_feature_list(&n);
	for (unsigned i = 0; i < n; i++)
		printf("%-14s %-4s %-9s %s\n", list[i].name, list[i].present(f) ? "yes" : "no",
		       list[i].needed ? "needed" : "optional", list[i].purpose);
	printf("\nmechanisms of this version\n");
	for (unsigned i = 0; i < COR_MECHANISMS; i++)
		printf("%-14s %-4u %-9s %s\n", cor_mechanism_table[i].name,
		       cor_mechanism_table[i].version,
		       cor_mechanism_table[i].essential ? "needed" : "optional",
		       cor_mechanism_table[i].what);
	print_transports();
}

int cor_check(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp parser = {
		options, parse, NULL,
		"Tells what this kernel and host can do, and which mechanisms and transports "
		"this version has.\vThe exit status is 1 when something is "
		"missing that migration needs.", NULL, NULL, NULL,
	};
	struct cor_error err = COR_ERROR_INIT;
	struct cor_features f;
	bool json = false;
	char names[256];
	int missing;

	if (argp_parse(&parser, argc, argv, 0, NULL, &json) != 0)
		return COR_EXIT_FAILED;
	if (cor_probe(&f, &err) < 0)
		return cor_complain("%s", err.text);
	missing = cor_features_missing(&f, names, sizeof(names));
	if (json)
		print_json(&f, missing);
	else
		print_table(&f);
	return missing ? cor_complain("this host lacks what migration needs: %s", names) :
			 COR_EXIT_DONE;
}
