/* Nodes without front doors on the simulated world: what node/control does from an empty disk on, under deaths. */
#ifndef CAIRN_TESTS_CONTROL_CLUSTER_H
#define CAIRN_TESTS_CONTROL_CLUSTER_H

#include <stdbool.h>

#include "node/control/control_internal.h"
#include "tests/sim/world.h"

#define CLUSTER_NODES_MAX 8
#define CLUSTER_FOUNDED_MAX 8

struct cluster;

struct cluster_node {
    struct cluster *cluster;
    struct sim_node *machine;
    uint32_t id;
    struct control *control; /* NULL: not running */
    struct buf_pool *pool;
    /* how it is started */
    uint32_t seeds[CLUSTER_NODES_MAX]; /* ids; 0 ends */
    uint32_t shards;
    const char *rack;
    bool forget_pledge;
    bool restart; /* after a death, a little later */
    /* what came of it */
    int open_error;
    int refusal;
    bool closed;
    char text[ERRMSG_SIZE];
};

struct cluster {
    struct sim_world *world;
    uint32_t n;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    /* every cluster id under which a metadata leader was ever ready to serve */
    struct uuid working[CLUSTER_FOUNDED_MAX];
    uint32_t n_working;
    uint32_t not_opened; /* log lines: a replica that should be there could not be opened */
};

/* @n machines with ids 1..n; all are seeds of each other unless changed before the start. */
void cluster_init(struct cluster *cl, uint64_t seed, uint32_t n);
void cluster_close(struct cluster *cl);
void cluster_seeds(struct cluster *cl, uint32_t n_seeds); /* all nodes are given 1..n_seeds */

struct cluster_node *cluster_node(struct cluster *cl, uint32_t id);
void cluster_start(struct cluster *cl, uint32_t id);
void cluster_kill(struct cluster *cl, uint32_t id, enum sim_end how);
void cluster_wipe(struct cluster *cl, uint32_t id); /* the disk is empty: it is a stranger with a known id */

/* Runs on; at every event the oracle looks. False: the limit came first. */
bool cluster_run_until(struct cluster *cl, bool (*holds)(struct cluster *cl, void *data), void *data,
                       uint64_t limit_ms);
void cluster_run(struct cluster *cl, uint64_t ms);

/* All running nodes are part of one cluster, their metadata is confirmed and equal, and all are registered. */
bool cluster_settled(struct cluster *cl, void *data);
struct cluster_node *cluster_metadata_leader(struct cluster *cl); /* NULL: none is ready */
uint32_t cluster_metadata_voters(struct cluster *cl);

/* Create a topic through @id and wait for the answer. Returns the error. */
int cluster_create_topic(struct cluster *cl, uint32_t id, const char *name, uint32_t partitions, uint32_t replication);
int cluster_delete_topic(struct cluster *cl, uint32_t id, const char *name);

#endif
