/* What operators and control do that is no fault, at moments when it hurts: leaders hand over. And when faults that
 * nothing survives too early may begin. */
#include "node/control/control_internal.h"
#include "node/shard/shard_internal.h"
#include "raft/group/internal.h"
#include "tests/sim/cluster_internal.h"

struct led {
    unsigned n;
    unsigned wanted;
    struct group *found;
};

static void look_led(void *data, struct group *g)
{
    struct led *led = data;
    if (g->ready && led->n++ == led->wanted) {
        led->found = g;
    }
}

/* Some group that the node leads, if any, to whoever is furthest or to a node by name. */
static bool transfer_one(struct cluster *c, struct cluster_node *n)
{
    struct shards *shards = control_shards(node_control(n->node));
    struct shard *shard = shards_at(shards, (uint32_t)sim_rng_below(&c->rng, shards_count(shards)));
    struct led led = {.wanted = UINT32_MAX};

    group_host_each(shard_host(shard), look_led, &led);
    if (led.n == 0) {
        return false;
    }
    led.wanted = (unsigned)sim_rng_below(&c->rng, led.n);
    led.n = 0;
    group_host_each(shard_host(shard), look_led, &led);
    if (group_transfer(led.found, (uint32_t)sim_rng_below(&c->rng, c->n + 1)) == 0) {
        oracle_trace(c->oracle, "cluster: n%u hands group %llu over", n->i + 1, (unsigned long long)led.found->id);
        oracle_counts(c->oracle)->transfers++;
    }
    return true;
}

static void transfer_some(struct sim_world *world, void *data)
{
    struct cluster *c = data;
    unsigned first = (unsigned)sim_rng_below(&c->rng, c->n);

    if (c->healed) {
        return;
    }
    for (unsigned i = 0; i < c->n; i++) {
        struct cluster_node *n = &c->nodes[(first + i) % c->n];
        if (n->node != NULL && !n->stopping && !sim_node_paused(n->machine) && control_formed(node_control(n->node)) &&
            transfer_one(c, n)) {
            break;
        }
    }
    sim_world_at(world, sim_world_now(world) + 1 + sim_rng_below(&c->rng, 2 * c->config.transfer_mean_ns), transfer_some, c);
}

void cluster_transfers_start(struct cluster *c, uint64_t begin_ns)
{
    if (c->config.transfer_mean_ns != 0) {
        sim_world_at(c->world, begin_ns, transfer_some, c);
    }
}

/* Founding takes the pledges of all seeds, and only a founder can tell the others that it happened: a disk that loses its
 * part before then leaves a cluster that waits for its operator. What some node has applied stands on a majority of the
 * founders, so whoever has not heard of it yet still will, whichever single disk lies from then on. */
bool cluster_may_lie(void *data)
{
    struct cluster *c = data;

    for (unsigned i = 0; i < c->n && !c->formed; i++) {
        const struct cluster_node *n = &c->nodes[i];
        c->formed = n->node != NULL && !n->stopping && metadata_fsm_nodes(control_metadata(node_control(n->node))) >= c->n;
    }
    return c->formed;
}
