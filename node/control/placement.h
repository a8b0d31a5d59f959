/* Where a new topic's replicas go. Pure: tests give it any cluster. */
#ifndef CAIRN_CONTROL_PLACEMENT_H
#define CAIRN_CONTROL_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "node/fsm/metadata/metadata_fsm.h"

struct placement_node {
    uint32_t node;
    const char *rack; /* "" counts as a rack of its own for each node */
    bool alive;
    uint32_t replicas; /* held already; counted up by the placement */
    uint32_t leaders;  /* preferred for already */
};

/* Choose @replication of @nodes for one partition, the preferred leader first: the one alive with the fewest
 * leaderships; then racks that hold no replica yet, then few replicas; nodes that are not alive only where there are no
 * others.
 * @salt spreads equals. Returns false when there are not enough nodes, or no majority of them would be alive. */
bool placement_choose(struct placement_node *nodes, uint32_t n, uint32_t replication, uint64_t salt,
                      uint32_t out[METADATA_REPLICAS_MAX]);

#endif
