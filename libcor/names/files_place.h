/* Is this the host where the table was captured? */
#pragma once

#include "libcor/names/file_ops.h"

void cor_files_place_init(struct cor_file_place *place, const Cor__Names__FileTable *table);

/* Does the table make sense: indices in range, kinds known? It comes from the
 * network. -EPROTO, -EOPNOTSUPP. */
int cor_files_table_valid(const Cor__Names__FileTable *table, struct cor_error *err);
