/* cor check: what this kernel and host can do. */
#include "tools/cor.h"

#include <jansson.h>
#include <stdio.h>

#include "libcor/base/probe.h"
#include "libcor/names/mechanism.h"
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
	o = json_pack("{s:b, s:s, s:s, s:o, s:o}", "ok", missing == 0, "version", cor_version(),
		      "kernel", f->kernel, "features", features, "mechanisms", mechanisms);
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
}

int cor_check(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp parser = {
		options, parse, NULL,
		"Tells what this kernel and host can do, and which mechanisms this version has.\vThe exit status is 1 when something is "
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
