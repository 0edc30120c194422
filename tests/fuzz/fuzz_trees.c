/* What a peer says of a task's mounts, the plan that is made of it, and lines of
 * mountinfo. */
#include "libcor/names/home/plan.h"
#include "tests/fuzz/fuzz.h"

static void fuzz_plan(const uint8_t *data, size_t size)
{
	Cor__Names__Trees *t = cor__names__trees__unpack(NULL, size, data);
	Cor__Names__Plan *p = NULL;

	if (!t)
		return;
	if (cor_trees_plan(&p, t, NULL) == 0) {
		bool any = p->n_trees == 0;

		for (size_t i = 0; i < p->n_trees; i++) {
			const Cor__Names__Tree *tree = p->trees[i];

			FUZZ_CHECK(tree->prefix[0] == '/');
			FUZZ_CHECK(tree->home <= t->n_homes);
			FUZZ_CHECK(i == 0 || strcmp(p->trees[i - 1]->prefix, tree->prefix) <= 0);
			any |= tree->mode == COR__NAMES__TREE_MODE__TREE_HOME;
			FUZZ_CHECK(cor_plan_find(p, tree->prefix) >= 0);
		}
		FUZZ_CHECK(any);
		cor__names__plan__free_unpacked(p, NULL);
	} else {
		FUZZ_CHECK(!p);
	}
	cor__names__trees__free_unpacked(t, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = fuzz_text(data, size);
	struct cor_mount_line m;

	if (cor_parse_mount(line, &m) == 0)
		FUZZ_CHECK(m.point[0] == '/' && m.type && m.source && m.root);
	free(line);
	fuzz_plan(data, size);
	return 0;
}
