/* Shared by the files of the cluster simulation. */
#ifndef CAIRN_SIM_CLUSTER_INTERNAL_H
#define CAIRN_SIM_CLUSTER_INTERNAL_H

#include "node/fsm/group/coordinator.h"
#include "node/node.h"
#include "tests/sim/cluster.h"

struct cluster;

struct cluster_hook {
    struct env_hook submitted; /* behind the groups: before anything leaves */
    struct env_hook last;
    struct cluster_node *node;
    struct shard *shard;
};

struct cluster_node {
    struct cluster *cluster;
    struct sim_node *machine;
    unsigned i; /* from 0; node id - 1 */
    struct node *node; /* NULL: down */
    struct env *env;
    uint64_t begun_ns; /* when it was started */
    bool stopping;
    bool rotten; /* its disk has lied: it may refuse to start */
    bool refused; /* ... and it did, or would not go on */
    unsigned refusals;
    bool wiped; /* its disk was emptied: it must refuse to be who it was */
    struct cluster_hook hooks[SHARDS_MAX];
};

/* One machine of clients. */
struct cluster_machine {
    struct cluster *cluster;
    struct sim_node *machine;
    unsigned n;
    const struct client_kind *kinds[CLUSTER_KINDS_MAX];
    void *clients[CLUSTER_KINDS_MAX]; /* NULL: down */
};

/* How the nodes are configured; drawn from the seed. */
struct cluster_config {
    uint32_t shards;
    unsigned seeds; /* the first so many nodes found the cluster */
    uint64_t log_file_bytes;
    uint64_t cache_bytes;
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    bool disk_errors;
    bool read_errors; /* reads fail on one node's disk */
    bool stalls; /* a node cut off from its peers may have a disk that stalls for seconds */
    bool wipe; /* one node loses its disk */
    bool lies; /* one node's disk lies */
    unsigned liar; /* the node whose disk does either, from 1; 0: none */
    struct coordinator_config groups;
    uint64_t stop_mean_ns;    /* orderly stops; 0: none */
    uint64_t transfer_mean_ns; /* of leadership; 0: only what control asks for */
    uint64_t isolate_mean_ns; /* a node loses its peers, but not its clients; 0: never */
    uint64_t isolate_max_ns;
};

struct cluster {
    const struct cluster_params *params;
    struct sim_rng rng;
    struct sim_world *world;
    struct oracle *oracle;
    struct sim_swarm *swarm;
    struct cluster_config config;
    struct workload workload;
    unsigned n;
    struct cluster_node nodes[ORACLE_NODES_MAX];
    unsigned n_machines;
    struct cluster_machine machines[CLUSTER_MACHINES_MAX];
    bool formed; /* some node has seen that all are members */
    bool healed;
    bool over; /* nobody is started again */
};

/* cluster_mix.c: what the seed draws. */
uint64_t cluster_draw(struct cluster *c, uint64_t low, uint64_t high);
void cluster_draw_config(struct cluster *c);
void cluster_draw_world(struct cluster *c, struct sim_params *sim);
void cluster_draw_lies(struct cluster *c, struct sim_swarm_knobs *k);
void cluster_choose_faults(struct cluster *c, struct sim_swarm_knobs *k); /* only those that --faults names */
bool cluster_may(const struct cluster *c, const char *kind);

void cluster_node_init(struct cluster *c, unsigned i);
void cluster_node_start(struct cluster_node *n);
void cluster_disk_stalls(struct cluster_node *n, bool on);
void cluster_transfers_start(struct cluster *c, uint64_t begin_ns);
bool cluster_may_lie(void *data); /* the cluster's; for sim_swarm_lies_while() */
void cluster_node_stop(struct cluster_node *n); /* in order, as with SIGTERM */
struct cluster_machine *cluster_machine_add(struct cluster *c, const char *host);
void cluster_machine_start(struct cluster_machine *m);

#endif
