/* Faults from a seed: which kinds, how often, how long; then everything heals, so that convergence can be asked for.
 *
 * A run in which every fault is likely hides what one alone would show, so sim_swarm_draw() leaves most kinds out of
 * most runs ("swarm testing": Groce et al. 2012). Tests that want a certain mix fill in the knobs themselves. */
#ifndef CAIRN_SIM_SWARM_H
#define CAIRN_SIM_SWARM_H

#include "tests/sim/world.h"

/* X(name, how many of it): each has a mean time between two faults of the kind, anywhere in the cluster; 0: off. */
#define SIM_SWARM_KINDS(X)                                                                                             \
    X(kill, kills)                                                                                                     \
    X(power, powers)                                                                                                   \
    X(power_all, powers_all)     /* all at once */                                                                     \
    X(op_kill, op_kills)         /* in the middle of disk operations, kill or power */                                 \
    X(pause, pauses)                                                                                                   \
    X(partition, partitions)     /* both ways, random sides */                                                         \
    X(asymmetric, asymmetrics)   /* what one side says is not heard by the other */                                    \
    X(one_way, one_ways)         /* one direction of one link */                                                       \
    X(reset, resets)             /* all connections between two nodes */                                               \
    X(half_open, half_opens)     /* only one side takes them for reset; the other hears its last words late */         \
    X(slow_link, slow_links)     /* latency */                                                                         \
    X(narrow_link, narrow_links) /* bytes a second */                                                                  \
    X(slow_disk, slow_disks)     /* a factor */                                                                        \
    X(stall, stalls)             /* nothing reaches the disk for seconds */                                            \
    X(full_disk, full_disks)     /* next to no room for a while; never drawn here: not every program bears it */       \
    X(lost_write, lost_writes)     /* these three only on the nodes of lie_mask; never drawn here */                   \
    X(astray_write, astray_writes)                                                                                     \
    X(rot, rot_bits)                                                                                                       \
    X(clock, clocks)             /* the wall clock jumps, forth or back, and drifts from then on */

struct sim_swarm_knobs {
#define X(name, many) uint64_t name##_mean_ns;
    SIM_SWARM_KINDS(X)
#undef X

    uint64_t begin_ns; /* of the world's time */
    uint64_t end_ns;   /* here all heals */
    uint64_t node_mask; /* who suffers; bit i: node i */
    uint64_t lie_mask;  /* whose disks lie: few enough that a good copy of everything is left (the fault atlas) */
    unsigned down_max; /* nodes down or paused at once, except by cutting all power */

    uint32_t op_kill_restart_ppm; /* restarts that die again, while they start */
    uint64_t down_max_ns;
    uint64_t pause_max_ns;
    uint64_t partition_max_ns;
    uint64_t late_max_ns;      /* half_open: how late the last words come */
    uint64_t slow_link_max_ns; /* extra latency and, times a hundred, how long; narrow ones as long as that */
    uint64_t narrow_min_bytes_per_s;
    uint32_t slow_disk_factor_max;
    uint64_t slow_disk_max_ns;
    uint64_t stall_max_ns;
    uint64_t full_disk_max_ns;
    int64_t clock_max_ms;
};

struct sim_swarm_counts {
#define X(name, many) unsigned many;
    SIM_SWARM_KINDS(X)
#undef X
    unsigned restarts;
    unsigned clocks_back; /* of the clocks */
};

struct sim_swarm;

/* A drawn mix over [begin, end) for the first @n_nodes nodes. */
void sim_swarm_draw(struct sim_swarm_knobs *knobs, uint64_t seed, size_t n_nodes, uint64_t begin_ns, uint64_t end_ns);

/* Only the kinds that @list names, by commas; those that were not drawn get a middling frequency. */
void sim_swarm_choose(struct sim_swarm_knobs *knobs, const char *list);
bool sim_swarm_named(const char *list, const char *name);

/* One line: which faults, how often. */
void sim_swarm_describe(const struct sim_swarm_knobs *knobs, char *out, size_t out_size);

/* @restart starts the node's program (sim_node_start), outside of any callback; it is asked for every node of the mask
 * that is down, for whatever reason, after a drawn while, and for all of them when the swarm ends. */
struct sim_swarm *sim_swarm_new(struct sim_world *world, const struct sim_swarm_knobs *knobs, uint64_t seed,
                                void (*restart)(struct sim_node *node, void *data), void *data);
/* No disk lies while @may says no: until enough copies of what it could lose exist elsewhere. */
void sim_swarm_lies_while(struct sim_swarm *swarm, bool (*may)(void *data), void *data);
bool sim_swarm_healed(const struct sim_swarm *swarm);
const struct sim_swarm_counts *sim_swarm_counts(const struct sim_swarm *swarm);
void sim_swarm_free(struct sim_swarm *swarm); /* only when healed, or after the world is freed */

#endif
