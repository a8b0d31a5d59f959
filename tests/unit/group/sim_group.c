/* Whole groups (core, shard log, transport, group) on the simulated world, under drawn faults. For every seed: one leader
 * a term, the same entries applied in the same order everywhere, each acknowledged proposal in the log for good, barriers
 * that mean what they say, and after healing everyone agrees.
 *
 *     sim_group               a few dozen seeds, about 20 s
 *     sim_group FIRST COUNT   others; a failing seed prints itself and repeats exactly */
#include "tests/unit/group/sim_group.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FAULTS_BEGIN (2 * SIM_S)
#define FAULTS_END (14 * SIM_S)
#define HEAL_LIMIT (60 * SIM_S)
#define DEFAULT_SECONDS 20

static uint64_t below(struct cluster *c, uint64_t n)
{
    return n == 0 ? 0 : sim_world_random(c->world) % n;
}

/* ---- programs ---- */

static void on_start(struct env *env, void *data)
{
    struct node *node = data;
    struct cluster *c = node->cluster;
    struct core_config founders;
    uint32_t ids[NODES_MAX];
    char listen[32];
    char address[32];
    struct member_params params = {.env = env,
                                   .node = node->id,
                                   .dir = "/data",
                                   .listen = listen,
                                   .boot = ++node->boot,
                                   .cache_bytes = c->cache_bytes,
                                   .file_bytes = c->file_bytes,
                                   .applied = check_applied,
                                   .led = check_led,
                                   .data = node};

    snprintf(listen, sizeof(listen), "n%u:7000", node->id);
    if (member_open(&node->member, &params) != 0) {
        broken(c, "node %u does not open: %s", node->id, node->member.error);
    }
    if (node->member.recovery.groups_damaged != 0) {
        broken(c, "node %u: %" PRIu64 " replicas damaged by a crash alone", node->id,
               node->member.recovery.groups_damaged);
    }
    for (uint32_t i = 1; i <= c->n_nodes; i++) {
        if (i != node->id) {
            snprintf(address, sizeof(address), "n%u:7000", i);
            if (transport_peer_set(node->member.transport, i, address) != 0) {
                broken(c, "peer address");
            }
        }
    }
    for (unsigned i = 0; i < c->n_founders; i++) {
        ids[i] = i + 1;
    }
    for (unsigned g = 0; g < c->n_groups; g++) {
        int rv;
        member_founders(g, ids, c->n_founders, &founders);
        rv = node->id <= c->n_founders ? member_group(&node->member, g, &founders, 1 + g % c->n_founders)
                                       : member_join(&node->member, g);
        if (rv != 0) {
            broken(c, "node %u group %u does not start: %s", node->id, g, err_name(rv));
        }
    }
    node->open = true;
}

struct proposal {
    struct group_proposal p;
    struct list link;
    struct node *node;
    unsigned group;
    uint64_t value;
    uint64_t floor; /* acknowledged before it was proposed */
};

struct barrier {
    struct group_barrier b;
    struct list link;
    struct node *node;
    unsigned group;
    uint64_t floor;
};

static void sum_stats(struct cluster *c, const struct member *m)
{
    struct group_host_stats s;
    const uint64_t *from = (const uint64_t *)(const void *)&s;
    uint64_t *to = (uint64_t *)(void *)&c->stats;

    group_host_stats(m->host, &s);
    for (size_t i = 0; i < sizeof(s) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
}

static void on_ended(struct sim_node *machine, enum sim_end how, void *data)
{
    struct node *node = data;
    struct list *link;

    if (how == SIM_END_FATAL) {
        broken(node->cluster, "node %u: %s", node->id, sim_node_fatal_reason(machine));
    }
    node->open = false;
    if (node->member.host != NULL) {
        sum_stats(node->cluster, &node->member);
    }
    member_abandon(&node->member);
    while ((link = list_pop_front(&node->proposals)) != NULL) {
        free(list_entry(link, struct proposal, link));
        node->cluster->n_unknown++;
    }
    while ((link = list_pop_front(&node->barriers)) != NULL) {
        free(list_entry(link, struct barrier, link));
    }
}

static void start_node(struct sim_node *machine, void *data)
{
    struct cluster *c = data;
    struct node *node = &c->nodes[sim_node_id(machine) + 1];
    struct sim_program program = {.start = on_start, .ended = on_ended, .data = node};

    sim_node_start(machine, &program);
}

/* ---- clients ---- */

static void on_proposed(struct group_proposal *p, int status)
{
    struct proposal *proposal = container_of(p, struct proposal, p);
    struct cluster *c = proposal->node->cluster;

    list_remove(&proposal->link);
    if (status == 0) {
        check_acked(c, proposal->group, proposal->value, p->entry->index, p->entry->term, proposal->floor);
    } else if (status == ERR_UNKNOWN_OUTCOME) {
        c->n_unknown++;
    } else if (p->entry->index != 0) {
        broken(c, "a submitted proposal ends as %s", err_name(status));
    } else {
        c->n_refused++;
    }
    free(proposal);
}

static uint64_t new_value(struct cluster *c, unsigned group)
{
    if (c->n_values == c->values_capacity) {
        c->values_capacity = c->values_capacity == 0 ? 4096 : 2 * c->values_capacity;
        c->values = realloc(c->values, c->values_capacity * sizeof(*c->values));
        if (c->values == NULL) {
            abort();
        }
    }
    c->values[c->n_values] = (struct value){.group = group};
    return ++c->n_values;
}

static void propose(struct node *node, unsigned group)
{
    struct cluster *c = node->cluster;
    struct mgroup *mg = &node->member.groups[group];
    struct proposal *proposal = calloc(1, sizeof(*proposal));
    uint32_t size = 8 + (uint32_t)below(c, 1 + below(c, 4) * c->size_max / 4);

    if (proposal == NULL) {
        abort();
    }
    proposal->node = node;
    proposal->group = group;
    proposal->value = new_value(c, group);
    proposal->floor = c->truths[group].acked;
    proposal->p.entry = member_entry(&node->member, proposal->value, size);
    proposal->p.done = on_proposed;
    if (group_propose(mg->g, &proposal->p) != 0) {
        entry_release(proposal->p.entry);
        free(proposal);
        return;
    }
    c->n_proposed++;
    list_push_back(&node->proposals, &proposal->link);
}

static void on_barrier(struct group_barrier *b, int status)
{
    struct barrier *barrier = container_of(b, struct barrier, b);
    struct node *node = barrier->node;

    list_remove(&barrier->link);
    if (status == 0) {
        node->cluster->n_barriers++;
        if (node->member.groups[barrier->group].n < barrier->floor) {
            broken(node->cluster, "group %u: a barrier on node %u does not see what was acknowledged before it",
                   barrier->group, node->id);
        }
    }
    free(barrier);
}

static void wait_barrier(struct node *node, unsigned group)
{
    struct barrier *barrier = calloc(1, sizeof(*barrier));

    if (barrier == NULL) {
        abort();
    }
    barrier->node = node;
    barrier->group = group;
    barrier->floor = node->cluster->truths[group].acked;
    barrier->b.done = on_barrier;
    if (group_barrier(node->member.groups[group].g, &barrier->b) != 0) {
        free(barrier);
        return;
    }
    list_push_back(&node->barriers, &barrier->link);
}

/* Grow to the fifth node, then let a founder go; errors are part of life. */
static void change(struct node *node, unsigned group)
{
    struct cluster *c = node->cluster;
    struct mgroup *mg = &node->member.groups[group];
    const struct core_config *config = group_config(mg->g);
    uint32_t target = c->n_founders + 1;
    const struct core_member *member;

    if (config == NULL || target > c->n_nodes) {
        return;
    }
    member = core_config_find(config, member_replica(group, target));
    if (member == NULL) {
        c->n_changes += group_change(mg->g, CORE_ADD_LEARNER, member_replica(group, target), target) == 0;
    } else if (member->role == CORE_LEARNER) {
        if (core_catch_up_status(group_core(mg->g), member->id) == CORE_CATCH_UP_DONE) {
            c->n_changes += group_change(mg->g, CORE_PROMOTE, member->id, target) == 0;
        } else {
            int rv = group_catch_up(mg->g, member->id);
            (void)rv;
        }
    } else if (config->n > c->n_founders && core_config_committed(group_core(mg->g))) {
        uint32_t victim = 1 + (uint32_t)below(c, c->n_founders);
        c->n_changes += victim != node->id &&
                        group_change(mg->g, CORE_REMOVE, member_replica(group, victim), victim) == 0;
    }
}

static void on_client(struct env *env, void *data)
{
    struct node *node = data;
    struct cluster *c = node->cluster;
    unsigned group = (unsigned)below(c, c->n_groups);
    uint64_t what = below(c, 1000);

    (void)env;
    if (!node->open || node->member.groups[group].g == NULL) {
        return;
    }
    if (what < 5) {
        c->n_transfers += group_transfer(node->member.groups[group].g, 0) == 0;
    } else if (what < 150) {
        wait_barrier(node, group);
    } else if (what < 250 && c->changes) {
        change(node, group);
    } else {
        for (uint64_t n = 1 + below(c, 1 + below(c, 12)); n > 0; n--) {
            propose(node, group);
        }
    }
}

static void client(struct sim_world *world, void *data)
{
    struct cluster *c = data;
    struct node *node = &c->nodes[1 + below(c, c->n_nodes)];

    if (c->stopping) {
        return;
    }
    if (node->open && !sim_node_paused(node->machine)) {
        (void)sim_node_call(node->machine, on_client, node);
    }
    sim_world_at(world, sim_world_now(world) + below(c, 2 * c->client_ns), client, c);
}

/* ---- a run ---- */

static void log_line(void *data, struct sim_node *machine, const char *line, size_t length)
{
    struct cluster *c = data;

    fprintf(stderr, "%10.6f %s %.*s\n", (double)sim_world_now(c->world) / 1e9,
            machine != NULL ? sim_node_host(machine) : "-", (int)length, line);
}

static void draw(struct cluster *c, uint64_t seed)
{
    static const uint64_t caches[] = {1, 20000, 16u << 20};
    struct sim_rng rng;

    sim_rng_init(&rng, seed ^ 0x6a09e667f3bcc908u);
    c->seed = seed;
    c->n_founders = sim_rng_chance(&rng, 100000)   ? 1
                    : sim_rng_chance(&rng, 100000) ? 2
                    : sim_rng_chance(&rng, 150000) ? 5
                                                   : 3;
    c->changes = c->n_founders == 3 && sim_rng_chance(&rng, 300000);
    c->n_nodes = c->n_founders + (c->changes ? 1 : 0);
    c->n_groups = 1 + (unsigned)sim_rng_below(&rng, GROUPS_MAX);
    c->cache_bytes = caches[sim_rng_below(&rng, 3)];
    c->file_bytes = sim_rng_chance(&rng, 500000) ? 256u << 10 : 4u << 20;
    c->client_ns = (2 + sim_rng_below(&rng, 30)) * SIM_MS;
    c->size_max = (uint32_t)sim_rng_skewed(&rng, 60000);
}

static bool is_converged(void *data)
{
    return converged(data);
}

static void why_not(struct cluster *c)
{
    for (unsigned g = 0; g < c->n_groups; g++) {
        fprintf(stderr, "group %u: %zu entries, term %" PRIu64 "\n", g, c->truths[g].n, c->truths[g].term);
        for (uint32_t i = 1; i <= c->n_nodes; i++) {
            const struct mgroup *mg = &c->nodes[i].member.groups[g];
            struct group_info info = {0};
            if (c->nodes[i].open && mg->g != NULL) {
                group_info(mg->g, &info);
            }
            fprintf(stderr,
                    "  node %u open %d applied %zu ready %d failed %d term %" PRIu64 " leader %u commit %" PRIu64
                    " last %" PRIu64 " uncommitted %" PRIu64 "\n",
                    i, c->nodes[i].open, mg->n, mg->ready, mg->failed, info.term, info.leader_node, info.commit,
                    info.last, info.uncommitted_bytes);
        }
    }
}

static uint64_t run_seed(uint64_t seed, bool verbose, struct group_host_stats *stats)
{
    struct cluster *c = calloc(1, sizeof(*c));
    struct sim_swarm_knobs knobs;
    struct sim_params params;
    struct sim_swarm *swarm;
    char faults[256];
    uint64_t hash;

    if (c == NULL) {
        abort();
    }
    draw(c, seed);
    sim_params_default(&params);
    params.log_level = getenv("CAIRN_TEST_LOG") != NULL ? LOG_DEBUG : 0;
    params.log_write = log_line;
    params.log_data = c;
    c->world = sim_world_new(seed, &params);
    for (uint32_t i = 1; i <= c->n_nodes; i++) {
        char host[8];
        snprintf(host, sizeof(host), "n%u", i);
        c->nodes[i].cluster = c;
        c->nodes[i].id = i;
        list_init(&c->nodes[i].proposals);
        list_init(&c->nodes[i].barriers);
        c->nodes[i].machine = sim_node_new(c->world, host);
        sim_node_make_dirs(c->nodes[i].machine, "/data");
        start_node(c->nodes[i].machine, c);
    }
    sim_swarm_draw(&knobs, seed, c->n_nodes, FAULTS_BEGIN, FAULTS_END);
    sim_swarm_describe(&knobs, faults, sizeof(faults));
    swarm = sim_swarm_new(c->world, &knobs, seed, start_node, c);
    sim_world_at(c->world, 0, client, c);
    sim_world_run_until(c->world, FAULTS_END);
    while (!sim_swarm_healed(swarm)) {
        sim_world_run_for(c->world, SIM_MS);
    }
    sim_world_run_for(c->world, SIM_S); /* clients go on for a while */
    c->stopping = true;
    if (!sim_world_run_until_true(c->world, is_converged, c, HEAL_LIMIT)) {
        why_not(c);
        broken(c, "no agreement %u s after everything healed (%s)", (unsigned)(HEAL_LIMIT / SIM_S), faults);
    }
    check_end(c);
    if (c->n_acked == 0) {
        why_not(c);
        broken(c, "nothing was ever acknowledged (%s)", faults);
    }
    hash = sim_world_hash(c->world);
    if (verbose) {
        printf("seed %" PRIu64 ": founders %u groups %u changes %d cache %" PRIu64 " file %" PRIu64
               ": proposed %" PRIu64 " acked %" PRIu64 " unknown %" PRIu64 " barriers %" PRIu64 " changes %" PRIu64
               " transfers %" PRIu64 " wins %" PRIu64 " events %" PRIu64 " (%s)\n",
               seed, c->n_founders, c->n_groups, c->changes, c->cache_bytes, c->file_bytes, c->n_proposed, c->n_acked,
               c->n_unknown, c->n_barriers, c->n_changes, c->n_transfers, c->n_wins, sim_world_events(c->world), faults);
    }
    sim_world_free(c->world);
    sim_swarm_free(swarm);
    for (unsigned g = 0; g < c->n_groups; g++) {
        free(c->truths[g].entries);
    }
    *stats = c->stats;
    free(c->values);
    free(c);
    return hash;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : UINT64_MAX;
    bool verbose = argc > 1;
    time_t begin = time(NULL);
    struct group_host_stats s;
    uint64_t n;

    for (n = 0; n < count && (argc > 1 || time(NULL) - begin < DEFAULT_SECONDS); n++) {
        uint64_t hash = run_seed(first + n, verbose, &s);
        if (n == 0 && run_seed(first, false, &s) != hash) {
            fprintf(stderr, "seed %" PRIu64 " does not repeat\n", first);
            return 1;
        }
        if (verbose) {
            printf("    dropped: unknown group %" PRIu64 " malformed %" PRIu64 " misdirected %" PRIu64 " not open %" PRIu64
                   " sends %" PRIu64 "; reads %" PRIu64 " stalls %" PRIu64 " reopened %" PRIu64 "\n",
                   s.unknown_group, s.malformed, s.misdirected, s.not_open, s.sends_dropped, s.reads, s.stalls, s.reopened);
        }
    }
    printf("%" PRIu64 " seeds\n", n);
    return 0;
}
