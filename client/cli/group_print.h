/* How lag is shown. */
#ifndef CAIRN_CLI_GROUP_PRINT_H
#define CAIRN_CLI_GROUP_PRINT_H

#include <jansson.h>

#include "client/cli/cli.h"

struct lag_cells {
    char partition[16];
    char committed[24];
    char end[24];
    char lag[24];
    char behind[HUMAN_SIZE]; /* time */
};

/* What is not known is a dash. */
void lag_cells_fill(const struct cairn_partition_lag *p, struct lag_cells *cells);
/* An array with an object for each partition; unknown numbers are null. */
json_t *lag_json(const struct cairn_group_lag *lag);

#endif
