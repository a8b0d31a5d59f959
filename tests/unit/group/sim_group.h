/* Groups on the simulated world: a cluster, its clients, and what must always hold. */
#ifndef CAIRN_TESTS_SIM_GROUP_H
#define CAIRN_TESTS_SIM_GROUP_H

#include "tests/sim/swarm.h"
#include "tests/unit/group/member.h"

#define NODES_MAX 5
#define GROUPS_MAX 4
#define TERMS_MAX 4096

struct cluster;

struct node {
    struct cluster *cluster;
    struct sim_node *machine;
    uint32_t id; /* 1, 2, ... */
    struct member member;
    bool open;
    uint64_t boot;
    struct list proposals; /* not ended: their outcome is not known if the node dies now */
    struct list barriers;
};

struct value {
    uint64_t index; /* where it was applied; 0: nowhere yet */
    unsigned group;
    bool acked;
};

/* What is known of a group's one true log. */
struct truth {
    struct applied *entries;
    size_t n;
    size_t capacity;
    uint64_t acked;           /* highest acknowledged index */
    uint64_t acked_term;      /* of the leader that said so */
    uint32_t leaders[TERMS_MAX]; /* node that led in a term */
    uint64_t term;            /* highest one led in */
};

struct cluster {
    uint64_t seed;
    struct sim_world *world;
    unsigned n_nodes;
    unsigned n_founders;
    unsigned n_groups;
    bool changes; /* membership changes are tried */
    bool stopping;
    uint64_t cache_bytes;
    uint64_t file_bytes;
    uint64_t client_ns; /* mean time between two things that clients do */
    uint32_t size_max;
    struct node nodes[NODES_MAX + 1];
    struct truth truths[GROUPS_MAX];
    struct value *values;
    size_t n_values; /* values are 1, 2, ... */
    size_t values_capacity;

    uint64_t n_proposed, n_acked, n_unknown, n_refused, n_barriers, n_changes, n_wins, n_transfers;
    struct group_host_stats stats; /* summed over programs that ended */
};

/* sim_check.c: each prints the seed and aborts when it does not hold. */
void broken(struct cluster *c, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
void check_applied(void *data, struct mgroup *mg, uint64_t index, const struct applied *entry);
void check_led(void *data, struct mgroup *mg, uint64_t term, bool ready);
void check_acked(struct cluster *c, unsigned group, uint64_t value, uint64_t index, uint64_t term, uint64_t floor);
bool converged(struct cluster *c);
void check_end(struct cluster *c);

#endif
