/* Faults from a seed: which kinds, how often, how long; then everything heals, so that convergence can be asked for.
 *
 * A run in which every fault is likely hides what one alone would show, so sim_swarm_draw() leaves most kinds out of
 * most runs ("swarm testing": Groce et al. 2012). Tests that want a certain mix fill in the knobs themselves. */
#ifndef CAIRN_SIM_SWARM_H
#define CAIRN_SIM_SWARM_H

#include "tests/sim/world.h"

/* Means are between two faults of the kind, anywhere in the cluster; 0: off. */
struct sim_swarm_knobs {
    uint64_t begin_ns; /* of the world's time */
    uint64_t end_ns;   /* here all heals */
    uint64_t node_mask; /* who suffers; bit i: node i */
    unsigned down_max; /* nodes down or paused at once, except by cutting all power */

    uint64_t kill_mean_ns;
    uint64_t power_mean_ns;
    uint64_t power_all_mean_ns;
    uint64_t op_kill_mean_ns;  /* in the middle of disk operations, kill or power */
    uint32_t op_kill_restart_ppm; /* restarts that die again, while they start */
    uint64_t down_max_ns;

    uint64_t pause_mean_ns;
    uint64_t pause_max_ns;

    uint64_t partition_mean_ns; /* both ways, random sides */
    uint64_t one_way_mean_ns;   /* one direction of one link */
    uint64_t partition_max_ns;
    uint64_t reset_mean_ns;     /* all connections between two nodes */
    uint64_t slow_link_mean_ns;
    uint64_t slow_link_max_ns;  /* extra latency and, times a hundred, how long */

    uint64_t slow_disk_mean_ns;
    uint32_t slow_disk_factor_max;
    uint64_t slow_disk_max_ns;

    uint64_t clock_mean_ns; /* the wall clock jumps, and drifts from then on */
    int64_t clock_max_ms;
};

struct sim_swarm_counts {
    unsigned kills, powers, powers_all, op_kills, pauses, partitions, one_ways, resets, slow_links, slow_disks, clocks;
    unsigned restarts;
};

struct sim_swarm;

/* A drawn mix over [begin, end) for the first @n_nodes nodes. */
void sim_swarm_draw(struct sim_swarm_knobs *knobs, uint64_t seed, size_t n_nodes, uint64_t begin_ns, uint64_t end_ns);

/* One line: which faults, how often. */
void sim_swarm_describe(const struct sim_swarm_knobs *knobs, char *out, size_t out_size);

/* @restart starts the node's program (sim_node_start), outside of any callback; it is asked for every node of the mask
 * that is down, for whatever reason, after a drawn while, and for all of them when the swarm ends. */
struct sim_swarm *sim_swarm_new(struct sim_world *world, const struct sim_swarm_knobs *knobs, uint64_t seed,
                                void (*restart)(struct sim_node *node, void *data), void *data);
bool sim_swarm_healed(const struct sim_swarm *swarm);
const struct sim_swarm_counts *sim_swarm_counts(const struct sim_swarm *swarm);
void sim_swarm_free(struct sim_swarm *swarm); /* only when healed, or after the world is freed */

#endif
