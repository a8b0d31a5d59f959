#include "tests/sim/swarm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MAX_NS (10 * SIM_MS)
#define POWER_FAILS_NS (10 * SIM_MS)
#define FULL_ROOM_MAX (64ull << 20)

struct victim {
    uint64_t down_until; /* when its restart is due; 0: it was not seen down yet */
    uint64_t paused_until;
    uint64_t slow_until;
    uint64_t full_until;
    uint64_t disk_size; /* while it is full: what it has otherwise */
};

struct sim_swarm {
    struct sim_world *world;
    struct sim_swarm_knobs knobs;
    struct sim_rng rng; /* its own, so that a change of the code under test does not change the faults */
    struct sim_swarm_counts counts;
    void (*restart)(struct sim_node *node, void *data);
    void *data;
    bool (*may_lie)(void *data); /* NULL: always */
    void *may_lie_data;
    struct victim victims[SIM_NODES_MAX];
    uint64_t partition_until; /* 0: none */
    uint64_t slow_link_until;
    uint64_t tick_ns;
    bool healed;
};

/* ---- drawing --------------------------------------------------------------------------------- */

static uint64_t mean(struct sim_rng *rng, uint32_t ppm, uint64_t low, uint64_t high)
{
    return sim_rng_chance(rng, ppm) ? sim_rng_range(rng, low, high) : 0;
}

void sim_swarm_draw(struct sim_swarm_knobs *k, uint64_t seed, size_t n_nodes, uint64_t begin_ns, uint64_t end_ns)
{
    struct sim_rng rng;

    sim_rng_init(&rng, seed ^ 0x5eed5);
    memset(k, 0, sizeof(*k));
    k->begin_ns = begin_ns;
    k->end_ns = end_ns;
    k->node_mask = n_nodes >= 64 ? UINT64_MAX : (1ull << n_nodes) - 1;
    k->down_max = 1 + (unsigned)sim_rng_below(&rng, n_nodes);
    k->kill_mean_ns = mean(&rng, 400000, 500 * SIM_MS, 10 * SIM_S);
    k->power_mean_ns = mean(&rng, 400000, 500 * SIM_MS, 10 * SIM_S);
    k->power_all_mean_ns = mean(&rng, 250000, 3 * SIM_S, 20 * SIM_S);
    k->op_kill_mean_ns = mean(&rng, 400000, 500 * SIM_MS, 10 * SIM_S);
    k->op_kill_restart_ppm = (uint32_t)mean(&rng, 300000, 100000, 500000);
    k->down_max_ns = sim_rng_range(&rng, 100 * SIM_MS, 8 * SIM_S);
    k->pause_mean_ns = mean(&rng, 300000, 500 * SIM_MS, 10 * SIM_S);
    k->pause_max_ns = sim_rng_range(&rng, 50 * SIM_MS, 6 * SIM_S);
    k->partition_mean_ns = mean(&rng, 400000, 1 * SIM_S, 10 * SIM_S);
    k->one_way_mean_ns = mean(&rng, 250000, 1 * SIM_S, 10 * SIM_S);
    k->partition_max_ns = sim_rng_range(&rng, 100 * SIM_MS, 10 * SIM_S);
    k->reset_mean_ns = mean(&rng, 300000, 200 * SIM_MS, 5 * SIM_S);
    k->slow_link_mean_ns = mean(&rng, 250000, 1 * SIM_S, 10 * SIM_S);
    k->slow_link_max_ns = sim_rng_range(&rng, 5 * SIM_MS, 500 * SIM_MS);
    k->asymmetric_mean_ns = mean(&rng, 250000, 1 * SIM_S, 10 * SIM_S);
    k->half_open_mean_ns = mean(&rng, 300000, 200 * SIM_MS, 5 * SIM_S);
    k->late_max_ns = sim_rng_range(&rng, 1 * SIM_MS, 5 * SIM_S);
    k->narrow_link_mean_ns = mean(&rng, 250000, 1 * SIM_S, 10 * SIM_S);
    k->narrow_min_bytes_per_s = sim_rng_range(&rng, 20000, 1000000);
    k->slow_disk_mean_ns = mean(&rng, 300000, 1 * SIM_S, 10 * SIM_S);
    k->slow_disk_factor_max = (uint32_t)sim_rng_range(&rng, 3, 1000);
    k->slow_disk_max_ns = sim_rng_range(&rng, 100 * SIM_MS, 5 * SIM_S);
    k->stall_mean_ns = mean(&rng, 250000, 1 * SIM_S, 10 * SIM_S);
    k->stall_max_ns = sim_rng_range(&rng, 200 * SIM_MS, 6 * SIM_S);
    k->full_disk_max_ns = sim_rng_range(&rng, 200 * SIM_MS, 6 * SIM_S);
    k->clock_mean_ns = mean(&rng, 250000, 1 * SIM_S, 10 * SIM_S);
    k->clock_max_ms = (int64_t)sim_rng_range(&rng, 10, 600000);
}

bool sim_swarm_named(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n) {
        if ((at == list || at[-1] == ',') && (at[n] == '\0' || at[n] == ',')) {
            return true;
        }
    }
    return false;
}

static void choose_kind(const char *list, const char *name, uint64_t *mean_ns)
{
    if (!sim_swarm_named(list, name)) {
        *mean_ns = 0;
    } else if (*mean_ns == 0) {
        *mean_ns = 3 * SIM_S;
    }
}

void sim_swarm_choose(struct sim_swarm_knobs *k, const char *list)
{
#define X(name, many) choose_kind(list, #name, &k->name##_mean_ns);
    SIM_SWARM_KINDS(X)
#undef X
    if (k->op_kill_mean_ns == 0) {
        k->op_kill_restart_ppm = 0;
    }
}

void sim_swarm_describe(const struct sim_swarm_knobs *k, char *out, size_t out_size)
{
    const struct {
        const char *name;
        uint64_t mean_ns;
    } kinds[] = {
#define X(name, many) {#name, k->name##_mean_ns},
        SIM_SWARM_KINDS(X)
#undef X
    };
    size_t n = (size_t)snprintf(out, out_size, "down_max=%u", k->down_max);

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && n < out_size; i++) {
        if (kinds[i].mean_ns != 0) {
            n += (size_t)snprintf(out + n, out_size - n, " %s=%.1fs", kinds[i].name, (double)kinds[i].mean_ns / 1e9);
        }
    }
}

/* ---- faults ---------------------------------------------------------------------------------- */

static bool due(struct sim_swarm *s, uint64_t mean_ns)
{
    return mean_ns != 0 && sim_rng_below(&s->rng, mean_ns) < s->tick_ns;
}

static bool may_suffer(const struct sim_swarm *s, size_t i)
{
    return (s->knobs.node_mask >> i) & 1;
}

static unsigned n_out(const struct sim_swarm *s)
{
    unsigned n = 0;
    for (size_t i = 0; i < sim_world_n_nodes(s->world); i++) {
        struct sim_node *node = sim_world_node(s->world, i);
        n += may_suffer(s, i) && (!sim_node_running(node) || sim_node_paused(node));
    }
    return n;
}

/* Some node of the mask, running or not; NULL when the mask is empty. */
static struct sim_node *draw_node(struct sim_swarm *s)
{
    size_t n = sim_world_n_nodes(s->world);
    size_t first = sim_rng_below(&s->rng, n);

    for (size_t i = 0; i < n; i++) {
        if (may_suffer(s, (first + i) % n)) {
            return sim_world_node(s->world, (first + i) % n);
        }
    }
    return NULL;
}

/* Some running node, while one more may fail. */
static struct sim_node *draw_victim(struct sim_swarm *s)
{
    struct sim_node *node = draw_node(s);
    if (node == NULL || !sim_node_running(node) || sim_node_paused(node) || n_out(s) >= s->knobs.down_max) {
        return NULL;
    }
    return node;
}

static void op_kill(struct sim_swarm *s, struct sim_node *node)
{
    enum sim_end how = sim_rng_next(&s->rng) & 1 ? SIM_END_KILL : SIM_END_POWER;
    sim_node_kill_at_op(node, sim_rng_skewed(&s->rng, 64), how);
    s->counts.op_kills++;
}

static void ends(struct sim_swarm *s)
{
    const struct sim_swarm_knobs *k = &s->knobs;
    struct sim_node *node;

    if (due(s, k->kill_mean_ns) && (node = draw_victim(s)) != NULL) {
        sim_node_kill(node, SIM_END_KILL);
        s->counts.kills++;
    }
    if (due(s, k->power_mean_ns) && (node = draw_victim(s)) != NULL) {
        sim_node_kill(node, SIM_END_POWER);
        s->counts.powers++;
    }
    if (due(s, k->op_kill_mean_ns) && (node = draw_victim(s)) != NULL) {
        op_kill(s, node);
    }
    if (due(s, k->power_all_mean_ns)) {
        bool slowly = sim_rng_next(&s->rng) & 1;
        /* What begins here is over before all heals: nobody would start the nodes again. */
        slowly = slowly && sim_world_now(s->world) + POWER_FAILS_NS < k->end_ns;
        sim_world_power_fails(s->world, k->node_mask, slowly ? POWER_FAILS_NS : 0);
        s->counts.powers_all++;
    }
    if (due(s, k->pause_mean_ns) && (node = draw_victim(s)) != NULL) {
        sim_node_pause(node);
        s->victims[sim_node_id(node)].paused_until = sim_world_now(s->world) + sim_rng_below(&s->rng, k->pause_max_ns);
        s->counts.pauses++;
    }
}

static void parted(struct sim_swarm *s)
{
    if (s->partition_until == 0) {
        s->partition_until = sim_world_now(s->world) + 1 + sim_rng_below(&s->rng, s->knobs.partition_max_ns);
    }
}

/* Two of the nodes, maybe the same one twice. Draws are statements of their own: the order of arguments is the compiler's. */
struct link {
    struct sim_node *from;
    struct sim_node *to;
};

static struct link draw_link(struct sim_swarm *s)
{
    struct link link;
    link.from = draw_node(s);
    link.to = draw_node(s);
    return link;
}

static void partitions(struct sim_swarm *s)
{
    const struct sim_swarm_knobs *k = &s->knobs;

    if (s->partition_until == 0 && due(s, k->partition_mean_ns)) {
        sim_net_partition(s->world, sim_rng_next(&s->rng) & k->node_mask);
        parted(s);
        s->counts.partitions++;
    }
    if (s->partition_until == 0 && due(s, k->asymmetric_mean_ns)) {
        sim_net_partition_one_way(s->world, sim_rng_next(&s->rng) & k->node_mask);
        parted(s);
        s->counts.asymmetrics++;
    }
    if (due(s, k->one_way_mean_ns)) {
        struct link link = draw_link(s);
        sim_net_block(s->world, link.from, link.to, true);
        parted(s);
        s->counts.one_ways++;
    }
}

static void network(struct sim_swarm *s)
{
    const struct sim_swarm_knobs *k = &s->knobs;
    uint64_t now = sim_world_now(s->world);

    partitions(s);
    if (due(s, k->reset_mean_ns)) {
        struct link link = draw_link(s);
        sim_net_reset(s->world, link.from, link.to);
        s->counts.resets++;
    }
    if (due(s, k->half_open_mean_ns)) {
        struct link link = draw_link(s);
        sim_net_half_open(s->world, link.from, link.to, sim_rng_skewed(&s->rng, k->late_max_ns));
        s->counts.half_opens++;
    }
    if (s->slow_link_until == 0 && due(s, k->slow_link_mean_ns)) {
        uint64_t extra = sim_rng_skewed(&s->rng, k->slow_link_max_ns);
        struct link link = draw_link(s);
        sim_net_slow(s->world, link.from, link.to, extra);
        s->slow_link_until = now + 1 + sim_rng_below(&s->rng, k->slow_link_max_ns * 100);
        s->counts.slow_links++;
    }
    if (s->slow_link_until == 0 && due(s, k->narrow_link_mean_ns)) {
        uint64_t bytes_per_s = k->narrow_min_bytes_per_s * (1 + sim_rng_skewed(&s->rng, 32));
        struct link link = draw_link(s);
        sim_net_narrow(s->world, link.from, link.to, bytes_per_s);
        s->slow_link_until = now + 1 + sim_rng_below(&s->rng, k->slow_link_max_ns * 100);
        s->counts.narrow_links++;
    }
}

/* Room for a little more, or none at all. */
static void fill_disk(struct sim_swarm *s, struct sim_node *node)
{
    struct victim *v = &s->victims[sim_node_id(node)];

    if (v->full_until == 0) {
        v->disk_size = sim_node_disk_size(node);
    }
    sim_node_set_disk_size(node, sim_node_disk_used(node) + sim_rng_skewed(&s->rng, FULL_ROOM_MAX));
    v->full_until = sim_world_now(s->world) + 1 + sim_rng_below(&s->rng, s->knobs.full_disk_max_ns);
    s->counts.full_disks++;
}

static void lie(struct sim_swarm *s, uint64_t mean_ns, enum sim_lie how, unsigned *count)
{
    size_t n = sim_world_n_nodes(s->world);
    size_t first;

    if (!due(s, mean_ns)) {
        return;
    }
    first = sim_rng_below(&s->rng, n);
    if (s->may_lie != NULL && !s->may_lie(s->may_lie_data)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if ((s->knobs.lie_mask >> (first + i) % n) & 1) {
            sim_node_lie(sim_world_node(s->world, (first + i) % n), how);
            *count += 1;
            return;
        }
    }
}

static void lies(struct sim_swarm *s)
{
    lie(s, s->knobs.lost_write_mean_ns, SIM_LIE_LOST, &s->counts.lost_writes);
    lie(s, s->knobs.astray_write_mean_ns, SIM_LIE_ASTRAY, &s->counts.astray_writes);
    lie(s, s->knobs.rot_mean_ns, SIM_LIE_ROT, &s->counts.rot_bits);
}

static void machines(struct sim_swarm *s)
{
    const struct sim_swarm_knobs *k = &s->knobs;
    uint64_t now = sim_world_now(s->world);

    if (due(s, k->slow_disk_mean_ns)) {
        struct sim_node *node = draw_node(s);
        sim_node_disk_knobs(node)->slow_factor = 2 + (uint32_t)sim_rng_skewed(&s->rng, k->slow_disk_factor_max);
        s->victims[sim_node_id(node)].slow_until = now + 1 + sim_rng_below(&s->rng, k->slow_disk_max_ns);
        s->counts.slow_disks++;
    }
    if (due(s, k->stall_mean_ns)) {
        struct sim_node *node = draw_node(s);
        sim_node_stall_disk(node, now + 1 + sim_rng_below(&s->rng, k->stall_max_ns));
        s->counts.stalls++;
    }
    if (due(s, k->full_disk_mean_ns)) {
        fill_disk(s, draw_node(s));
    }
    lies(s);
    if (due(s, k->clock_mean_ns)) {
        int64_t offset = (int64_t)sim_rng_below(&s->rng, (uint64_t)k->clock_max_ms * 2 + 1) - k->clock_max_ms;
        int32_t drift = (int32_t)sim_rng_below(&s->rng, 2001) - 1000;
        sim_node_set_clock(draw_node(s), offset, drift);
        s->counts.clocks++;
        s->counts.clocks_back += offset < 0;
    }
}

/* ---- ends of faults -------------------------------------------------------------------------- */

static void restart(struct sim_swarm *s, struct sim_node *node, bool may_die)
{
    s->victims[sim_node_id(node)].down_until = 0;
    s->restart(node, s->data);
    s->counts.restarts++;
    if (may_die && sim_node_running(node) && sim_rng_chance(&s->rng, s->knobs.op_kill_restart_ppm)) {
        op_kill(s, node);
    }
}

static void relieve_node(struct sim_swarm *s, size_t i, bool all)
{
    struct sim_node *node = sim_world_node(s->world, i);
    struct victim *v = &s->victims[i];
    uint64_t now = sim_world_now(s->world);

    if (sim_node_paused(node) && (all || now >= v->paused_until)) {
        sim_node_resume(node);
    }
    if (v->slow_until != 0 && (all || now >= v->slow_until)) {
        sim_node_disk_knobs(node)->slow_factor = 1;
        v->slow_until = 0;
    }
    if (all) {
        sim_node_stall_disk(node, 0);
    }
    if (v->full_until != 0 && (all || now >= v->full_until)) {
        sim_node_set_disk_size(node, v->disk_size);
        v->full_until = 0;
    }
    if (sim_node_running(node)) {
        if (all) {
            sim_node_kill_at_op(node, UINT64_MAX, SIM_END_KILL); /* never mind */
        }
        v->down_until = 0;
    } else if (all || (v->down_until != 0 && now >= v->down_until)) {
        restart(s, node, !all);
    } else if (v->down_until == 0) {
        v->down_until = now + 1 + sim_rng_skewed(&s->rng, s->knobs.down_max_ns);
    }
}

static void relieve(struct sim_swarm *s, bool all)
{
    uint64_t now = sim_world_now(s->world);
    size_t n = sim_world_n_nodes(s->world);

    if (s->partition_until != 0 && (all || now >= s->partition_until)) {
        sim_net_heal(s->world);
        s->partition_until = 0;
    }
    if (s->slow_link_until != 0 && (all || now >= s->slow_link_until)) {
        for (size_t i = 0; i < n * n; i++) {
            sim_net_slow(s->world, sim_world_node(s->world, i / n), sim_world_node(s->world, i % n), 0);
            sim_net_narrow(s->world, sim_world_node(s->world, i / n), sim_world_node(s->world, i % n), 0);
        }
        s->slow_link_until = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (may_suffer(s, i)) {
            relieve_node(s, i, all);
        }
    }
}

static void tick(struct sim_world *world, void *data)
{
    struct sim_swarm *s = data;

    if (sim_world_now(world) >= s->knobs.end_ns) {
        relieve(s, true);
        s->healed = true;
        return;
    }
    relieve(s, false);
    ends(s);
    network(s);
    machines(s);
    s->tick_ns = 1 + sim_rng_below(&s->rng, TICK_MAX_NS);
    uint64_t next = sim_world_now(world) + s->tick_ns;
    sim_world_at(world, next < s->knobs.end_ns ? next : s->knobs.end_ns, tick, s);
}

struct sim_swarm *sim_swarm_new(struct sim_world *world, const struct sim_swarm_knobs *knobs, uint64_t seed,
                                void (*restart_cb)(struct sim_node *node, void *data), void *data)
{
    struct sim_swarm *s = calloc(1, sizeof(*s));
    assert(s != NULL && knobs->end_ns >= knobs->begin_ns);
    s->world = world;
    s->knobs = *knobs;
    s->restart = restart_cb;
    s->data = data;
    sim_rng_init(&s->rng, seed);
    sim_world_at(world, knobs->begin_ns, tick, s);
    return s;
}

void sim_swarm_lies_while(struct sim_swarm *swarm, bool (*may)(void *data), void *data)
{
    swarm->may_lie = may;
    swarm->may_lie_data = data;
}

bool sim_swarm_healed(const struct sim_swarm *swarm)
{
    return swarm->healed;
}

const struct sim_swarm_counts *sim_swarm_counts(const struct sim_swarm *swarm)
{
    return &swarm->counts;
}

void sim_swarm_free(struct sim_swarm *swarm)
{
    free(swarm);
}
