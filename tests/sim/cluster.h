/* A whole cluster on the simulated world: nodes of the real code (everything below node/node.h), workload clients, faults,
 * and the oracles over all of it. One seed is one run. */
#ifndef CAIRN_SIM_CLUSTER_H
#define CAIRN_SIM_CLUSTER_H

#include "tests/sim/client.h"
#include "tests/sim/swarm.h"

#define CLUSTER_MACHINES_MAX 8 /* of clients */
#define CLUSTER_KINDS_MAX 4    /* on one machine */

/* Kinds of faults beside those of the swarm (SIM_SWARM_KINDS):
 * stop     nodes stop in order, now and then
 * transfer leaders hand over
 * isolate  a node is cut off from its peers, but not from its clients
 * disk     writes and syncs fail
 * read_error  reads fail; never drawn
 * wipe     one disk is emptied
 * loss     segments that are lost and sent again
 * tear     connections that are reset at the arrival of any segment
 * late     bytes of a connection that is over come late
 * drift    monotonic clocks that go faster or slower */
#define CLUSTER_FAULTS "stop,transfer,isolate,disk,read_error,wipe,loss,tear,late,drift"

struct cluster_params {
    uint64_t seed;
    unsigned nodes;     /* 0: drawn; mostly 3 */
    unsigned seconds;   /* virtual, until the workload stops */
    const char *faults; /* NULL: drawn; else names of SIM_SWARM_KINDS and CLUSTER_FAULTS, by commas; "none" */
    bool trace;
};

struct cluster_result {
    uint64_t hash;
    uint64_t events;
    uint64_t virtual_ns;
    unsigned nodes;
    unsigned shards;
    struct oracle_counts counts;
    struct sim_swarm_counts faults;
    struct sim_world_counts world;
};

/* Runs to the end, or prints the violation and ends the program with status 1. */
void cluster_run(const struct cluster_params *params, struct cluster_result *result);

#endif
