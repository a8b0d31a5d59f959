#include "tests/sim/cluster.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"
#include "node/shard/shard_internal.h"
#include "raft/wal/wal_internal.h"
#include "tests/sim/cluster_internal.h"

#define SLOW_SYNC_MAX_NS (500 * SIM_MS)
#define CUT_NS (10 * SIM_MS) /* how long a power cut may take, so that it meets each node in the middle of a write */
#define START_NS SIM_S /* a node that runs for so long has started */
#define READ_ERRORS_MAX_PPM 1000
#define READ_ERRORS_NAMED_PPM 20000 /* there are few reads where nothing dies */
#define ACKS_LEAST 500
#define ACKS_LIMIT_NS (120 * SIM_S)    /* from healing and the run's end until so many batches are acknowledged */
#define FRESH_LIMIT_NS (30 * SIM_S)    /* from healing until every partition has acknowledged something new */
#define IDLE_LIMIT_NS (15 * SIM_S)     /* from the workload's end until nothing is outstanding */
#define CONVERGE_LIMIT_NS (15 * SIM_S) /* until all replicas are equal */
#define REPLACE_LIMIT_NS (60 * SIM_S)  /* until corrupt replicas have successors that know everything */
#define VERIFY_LIMIT_NS (20 * SIM_S)   /* until everything was read once more */
#define VERIFY_BUFFER_BYTES (512u << 10) /* ... over ways that can carry it in that time */

/* ---- faults beside the swarm's --------------------------------------------------------------------------------------- */

static void restart(struct sim_node *machine, void *data)
{
    struct cluster *c = data;
    size_t id = sim_node_id(machine);
    if (id < c->n) {
        cluster_node_start(&c->nodes[id]);
    } else {
        cluster_machine_start(&c->machines[id - c->n]);
    }
}

static void cut_all(struct sim_world *world, void *data)
{
    struct cluster *c = data;

    oracle_trace(c->oracle, "cluster: all power is cut");
    oracle_counts(c->oracle)->power_all++;
    sim_world_power_fails(world, (1ull << c->n) - 1, cluster_draw(c, 0, 1) * CUT_NS);
}

static void stop_some(struct sim_world *world, void *data)
{
    struct cluster *c = data;

    if (c->healed) {
        return;
    }
    cluster_node_stop(&c->nodes[cluster_draw(c, 0, c->n - 1)]);
    sim_world_at(world, sim_world_now(world) + cluster_draw(c, 1, 2 * c->config.stop_mean_ns), stop_some, c);
}

static void join_again(struct sim_world *world, void *data)
{
    struct cluster_node *n = data;
    for (unsigned i = 0; i < n->cluster->n; i++) {
        sim_net_block(world, n->machine, n->cluster->nodes[i].machine, false);
        sim_net_block(world, n->cluster->nodes[i].machine, n->machine, false);
    }
    cluster_disk_stalls(n, false);
}

/* Mostly one that leads something: others are missed by few. */
static struct cluster_node *draw_leader(struct cluster *c)
{
    unsigned first = (unsigned)cluster_draw(c, 0, c->n - 1);
    bool any = cluster_draw(c, 0, 3) == 0;

    for (unsigned i = 0; i < c->n && !any; i++) {
        if (oracle_leads(c->oracle, (first + i) % c->n)) {
            return &c->nodes[(first + i) % c->n];
        }
    }
    return &c->nodes[first];
}

static bool has_started(const struct cluster_node *n)
{
    return n->node != NULL && sim_world_now(n->cluster->world) >= n->begun_ns + START_NS;
}

/* The way to a leader that does not know that it was deposed, while clients reach both. */
static void isolate_some(struct sim_world *world, void *data)
{
    struct cluster *c = data;
    struct cluster_node *n = draw_leader(c);
    uint64_t ways = cluster_draw(c, 1, 3); /* out, in, both */

    if (c->healed) {
        return;
    }
    oracle_trace(c->oracle, "cluster: n%u is cut off from its peers", n->i + 1);
    oracle_counts(c->oracle)->isolations++;
    cluster_disk_stalls(n, c->config.stalls && cluster_draw(c, 0, 1) == 0 && has_started(n));
    for (unsigned i = 0; i < c->n; i++) {
        if (i != n->i) {
            sim_net_block(world, n->machine, c->nodes[i].machine, (ways & 1) != 0);
            sim_net_block(world, c->nodes[i].machine, n->machine, (ways & 2) != 0);
        }
    }
    sim_world_at(world, sim_world_now(world) + cluster_draw(c, c->config.isolate_max_ns / 3, c->config.isolate_max_ns), join_again, n);
    sim_world_at(world, sim_world_now(world) + cluster_draw(c, 1, 2 * c->config.isolate_mean_ns), isolate_some, c);
}

/* When all are members, and the topics are there. */
static void wipe_one(struct sim_world *world, void *data)
{
    struct cluster *c = data;
    struct cluster_node *n = &c->nodes[cluster_draw(c, 0, c->n - 1)];
    bool ready = oracle_counts(c->oracle)->topics_created >= c->workload.n_topics;

    for (unsigned i = 0; i < c->n; i++) {
        ready = ready && c->nodes[i].node != NULL && control_formed(node_control(c->nodes[i].node));
    }
    if (c->healed) {
        return;
    }
    if (!ready) {
        sim_world_at(world, sim_world_now(world) + 100 * SIM_MS, wipe_one, c);
        return;
    }
    oracle_trace(c->oracle, "cluster: the disk of n%u is wiped", n->i + 1);
    sim_node_kill(n->machine, SIM_END_POWER);
    sim_node_wipe_disk(n->machine);
    sim_node_make_dirs(n->machine, "/var");
    n->wiped = true;
    oracle_node_wiped(c->oracle, n->i);
    cluster_node_start(n);
}

static void disks_fail(struct sim_world *world, void *data)
{
    struct cluster *c = data;
    for (unsigned i = 0; i < c->n; i++) {
        struct sim_disk_knobs *knobs = sim_node_disk_knobs(c->nodes[i].machine);
        knobs->sync_error_ppm = c->healed ? 0 : (uint32_t)cluster_draw(c, 0, 3000);
        knobs->write_error_ppm = c->healed ? 0 : (uint32_t)cluster_draw(c, 0, 1000);
        knobs->read_error_ppm = 0;
    }
}

/* What a disk would not give counts as lost for good: the fault atlas lets one disk do so, the one that may lie. */
static void reads_fail(struct sim_world *world, void *data)
{
    struct cluster *c = data;

    if (c->healed) {
        return;
    }
    if (!cluster_may_lie(c)) {
        sim_world_at(world, sim_world_now(world) + 100 * SIM_MS, reads_fail, c);
        return;
    }
    sim_node_disk_knobs(c->nodes[c->config.liar - 1].machine)->read_error_ppm =
        c->params->faults == NULL ? (uint32_t)cluster_draw(c, 1, READ_ERRORS_MAX_PPM) : READ_ERRORS_NAMED_PPM;
}

static void first_start(struct sim_world *world, void *data)
{
    cluster_node_start(data);
}

static void heal(struct sim_world *world, void *data)
{
    struct cluster *c = data;
    oracle_trace(c->oracle, "cluster: healing");
    c->healed = true;
    c->workload.healed_ns = sim_world_now(world);
    disks_fail(world, c);
}

/* ---- conditions ------------------------------------------------------------------------------------------------------ */

#define LOOK_EVERY_NS (50 * SIM_MS)

/* Run until @holds, looked at now and then. */
static bool run_until(struct cluster *c, bool (*holds)(struct cluster *c), uint64_t limit_ns)
{
    uint64_t end = sim_world_now(c->world) + limit_ns;
    while (!holds(c)) {
        if (sim_world_now(c->world) >= end) {
            return false;
        }
        sim_world_run_for(c->world, LOOK_EVERY_NS);
    }
    return true;
}

static bool all_clients(struct cluster *c, bool fresh)
{
    for (unsigned i = 0; i < c->n_machines; i++) {
        struct cluster_machine *m = &c->machines[i];
        for (unsigned k = 0; k < m->n; k++) {
            if (m->clients[k] == NULL || !(fresh ? m->kinds[k]->fresh(m->clients[k]) : m->kinds[k]->idle(m->clients[k]))) {
                return false;
            }
        }
    }
    return true;
}

/* For good: its disk is empty, or corrupt where nothing can heal it. */
static bool is_lost(const struct cluster_node *n)
{
    return n->wiped || n->refused;
}

static bool is_fresh(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (!is_lost(n) && (n->node == NULL || n->stopping)) {
            return false;
        }
    }
    return sim_swarm_healed(c->swarm) && all_clients(c, true);
}

static bool is_idle(struct cluster *c)
{
    return all_clients(c, false);
}

/* A run in which little was acknowledged proves little. */
static bool has_said_enough(struct cluster *c)
{
    return oracle_counts(c->oracle)->acks >= ACKS_LEAST;
}

static void live_nodes(struct cluster *c, struct node **nodes)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (c->nodes[i].node == NULL && !is_lost(&c->nodes[i])) {
            oracle_violation(c->oracle, "node %u is down after healing", i + 1);
        }
        nodes[i] = is_lost(&c->nodes[i]) ? NULL : c->nodes[i].node;
    }
}

static bool is_converged(struct cluster *c)
{
    struct node *nodes[ORACLE_NODES_MAX];
    char why[200];
    live_nodes(c, nodes);
    return oracle_converged(c->oracle, nodes, c->n, why, sizeof why);
}

static void describe_clients(struct cluster *c)
{
    char text[2000];
    for (unsigned i = 0; i < c->n_machines; i++) {
        struct cluster_machine *m = &c->machines[i];
        for (unsigned k = 0; k < m->n; k++) {
            if (m->clients[k] == NULL) {
                printf("waiting: %s on %s is down\n", m->kinds[k]->name, sim_node_host(m->machine));
            } else if (!m->kinds[k]->fresh(m->clients[k]) || !m->kinds[k]->idle(m->clients[k])) {
                m->kinds[k]->describe(m->clients[k], text, sizeof text);
                printf("waiting: %s on %s: %s\n", m->kinds[k]->name, sim_node_host(m->machine), text);
            }
        }
    }
}

/* ---- the run --------------------------------------------------------------------------------------------------------- */

/* Beside the real client library there always is a producer and a consumer that is not it: they see more of the wire. */
static void make_machines(struct cluster *c)
{
    struct cluster_machine *m = cluster_machine_add(c, "c0");
    uint64_t real = cluster_draw(c, 0, 3);
    bool groups = cluster_draw(c, 0, 2) == 0;

    m->kinds[m->n++] = &client_admin;
    m->kinds[m->n++] = &client_consumer;
    m->kinds[m->n++] = &client_pedant;
    m = cluster_machine_add(c, "c1");
    m->kinds[m->n++] = &client_producer_idempotent;
    m->kinds[m->n++] = &client_producer_plain;
    m = cluster_machine_add(c, "c2");
    m->kinds[m->n++] = &client_prober;
    if (real == 0) {
        m->kinds[m->n++] = &client_real_both;
    } else {
        m->kinds[m->n++] = real != 1 ? &client_real_producer : &client_producer_idempotent;
        m->kinds[m->n++] = real != 2 ? &client_real_consumer : &client_consumer;
    }
    for (unsigned i = 0; groups && i < 2; i++) {
        m = cluster_machine_add(c, i == 0 ? "g0" : "g1");
        m->kinds[m->n++] = &client_real_members;
    }
}

static void safety(struct cluster *c)
{
    struct sim_swarm_knobs knobs;
    uint64_t end = c->params->seconds * SIM_S;
    uint64_t heal_at = end * 6 / 10;
    /* Now and then the cluster must form under fire. */
    uint64_t begin = cluster_draw(c, 0, 3) == 0 ? 10 * SIM_MS : cluster_draw(c, 2000, 4000) * SIM_MS;
    char text[300];

    sim_swarm_draw(&knobs, c->params->seed, c->n, begin, heal_at);
    if (cluster_draw(c, 0, 1) == 0) {
        knobs.node_mask = (1ull << (c->n + c->n_machines)) - 1;
    }
    /* A sync takes half a second at most: with more, a start alone can outlast the run. */
    uint64_t slow_max = SLOW_SYNC_MAX_NS / sim_world_knobs(c->world)->disk.sync_max_ns;
    if (knobs.slow_disk_factor_max > slow_max) {
        knobs.slow_disk_factor_max = (uint32_t)slow_max;
    }
    knobs.full_disk_mean_ns = cluster_draw(c, 0, 4) == 0 ? cluster_draw(c, 1, 10) * SIM_S : 0;
    if (c->config.lies) {
        cluster_draw_lies(c, &knobs);
    }
    cluster_choose_faults(c, &knobs);
    c->config.stalls = knobs.slow_disk_mean_ns == 0; /* both together would stop a node for an hour */
    sim_swarm_describe(&knobs, text, sizeof text);
    oracle_trace(c->oracle, "cluster: %u nodes, %u shards, %u topics of %u partitions, faults: %s%s", c->n, c->config.shards,
                 c->workload.n_topics, c->workload.partitions, text, c->config.disk_errors ? " disk errors" : "");
    oracle_trace(c->oracle, "cluster: latency %llu us, %u bytes a window, syncs %llu us, requests %u ms",
                 sim_world_knobs(c->world)->net.latency_max_ns / SIM_US, sim_world_knobs(c->world)->net.buffer_bytes,
                 sim_world_knobs(c->world)->disk.sync_max_ns / SIM_US, c->workload.request_timeout_ms);
    for (unsigned i = 0; i < c->n; i++) {
        sim_world_at(c->world, cluster_draw(c, 0, 1500) * SIM_MS, first_start, &c->nodes[i]);
    }
    for (unsigned i = 0; i < c->n_machines; i++) {
        cluster_machine_start(&c->machines[i]);
    }
    if (cluster_may(c, "power_all")) {
        sim_world_at(c->world, cluster_draw(c, end / 4, end / 2), cut_all, c);
    }
    if (c->config.stop_mean_ns != 0) {
        sim_world_at(c->world, begin + cluster_draw(c, 1, 2 * c->config.stop_mean_ns), stop_some, c);
    }
    cluster_transfers_start(c, begin);
    if (c->config.isolate_mean_ns != 0) {
        sim_world_at(c->world, begin + cluster_draw(c, 1, 2 * c->config.isolate_mean_ns), isolate_some, c);
    }
    if (c->config.disk_errors) {
        sim_world_at(c->world, begin, disks_fail, c);
    }
    if (c->config.read_errors) {
        c->config.liar = c->config.liar != 0 ? c->config.liar : (unsigned)cluster_draw(c, 1, c->n);
        sim_world_at(c->world, begin, reads_fail, c);
    }
    if (c->config.wipe) {
        sim_world_at(c->world, cluster_draw(c, end / 4, heal_at - 1), wipe_one, c);
    }
    sim_world_at(c->world, heal_at, heal, c);
    c->swarm = sim_swarm_new(c->world, &knobs, c->params->seed + 1, restart, c);
    sim_swarm_lies_while(c->swarm, cluster_may_lie, c);
    sim_world_run_until(c->world, heal_at + SIM_MS);
}

static void liveness(struct cluster *c)
{
    char why[200];
    struct node *nodes[ORACLE_NODES_MAX];
    uint64_t end = c->params->seconds * SIM_S;

    if (!run_until(c, is_fresh, FRESH_LIMIT_NS)) {
        describe_clients(c);
        oracle_violation(c->oracle, "no progress: %d s after healing not every partition has acknowledged a new batch",
                         (int)(FRESH_LIMIT_NS / SIM_S));
    }
    oracle_trace(c->oracle, "cluster: every partition has acknowledged something new");
    if (sim_world_now(c->world) < end) {
        sim_world_run_until(c->world, end);
    }
    if (!run_until(c, has_said_enough, ACKS_LIMIT_NS)) {
        describe_clients(c);
        oracle_violation(c->oracle, "no progress: fewer than %d batches acknowledged", ACKS_LEAST);
    }
    c->workload.stop = true;
    oracle_trace(c->oracle, "cluster: the workload ends");
    if (!run_until(c, is_idle, IDLE_LIMIT_NS)) {
        describe_clients(c);
        oracle_violation(c->oracle, "no progress: a batch without an acknowledgement");
    }
    if (!run_until(c, is_converged, CONVERGE_LIMIT_NS)) {
        live_nodes(c, nodes);
        (void)oracle_converged(c->oracle, nodes, c->n, why, sizeof why);
        oracle_violation(c->oracle, "no convergence: %s", why);
    }
}

/* A producer may hear of a topic only now, when nothing is produced any more. */
static bool is_verified(struct cluster *c)
{
    const struct cluster_machine *m = &c->machines[c->n_machines - 1];
    return m->clients[0] != NULL && m->kinds[0]->fresh(m->clients[0]);
}

/* Asked is what stands there, not how fast a way is: a run may write for a minute and more, and two producers fill a way of
 * 16 KB a round trip by themselves. Over such a one the verifier's single stream would need as long again. */
static void verify(struct cluster *c, const char *host)
{
    struct cluster_machine *m = cluster_machine_add(c, host);
    uint32_t *buffer_bytes = &sim_world_knobs(c->world)->net.buffer_bytes;
    uint32_t usual = *buffer_bytes;
    unsigned i = 0;

    m->kinds[m->n++] = &client_verifier;
    *buffer_bytes = VERIFY_BUFFER_BYTES;
    cluster_machine_start(m);
    if (!run_until(c, is_verified, VERIFY_LIMIT_NS)) {
        describe_clients(c);
        oracle_violation(c->oracle, "not everything could be read at the end");
    }
    *buffer_bytes = usual;
    client_verifier_conclude(m->clients[0]);
    oracle_real_final(c->oracle);
    while (is_lost(&c->nodes[i])) { /* one at most */
        i++;
    }
    oracle_final_topics(c->oracle, control_metadata(node_control(c->nodes[i].node)));
}

static bool is_replaced(struct cluster *c)
{
    struct node *nodes[ORACLE_NODES_MAX];
    char why[200];

    live_nodes(c, nodes);
    return oracle_converged(c->oracle, nodes, c->n, why, sizeof why) && oracle_members_whole(c->oracle, nodes, c->n, why, sizeof why);
}

static void wait_replaced(struct cluster *c)
{
    struct node *nodes[ORACLE_NODES_MAX];
    char why[200] = "";

    if (!run_until(c, is_replaced, REPLACE_LIMIT_NS)) {
        live_nodes(c, nodes);
        if (oracle_converged(c->oracle, nodes, c->n, why, sizeof why)) {
            (void)oracle_members_whole(c->oracle, nodes, c->n, why, sizeof why);
        }
        oracle_violation(c->oracle, "a corrupt replica was not replaced: %s", why);
    }
}

/* Not where no majority is left that could let a successor in. */
static bool can_replace(const struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (is_lost(&c->nodes[i])) {
            return false;
        }
    }
    return c->workload.replication >= 3;
}

/* I6: a replica whose records are corrupt gets a successor, which learns everything from the others, by itself. */
static void heal_rot(struct cluster *c, const struct cluster_node *rotten, uint64_t found)
{
    if (rotten->node == NULL || !can_replace(c)) {
        return; /* it would not start, which is right for some of what may rot */
    }
    wait_replaced(c);
    oracle_counts(c->oracle)->replaced += found;
    if (found == 0) {
        return;
    }
    /* What the successors have is on their disks, and can be read from them. */
    for (unsigned i = 0; i < c->n; i++) {
        sim_node_kill(c->nodes[i].machine, SIM_END_POWER);
    }
    for (unsigned i = 0; i < c->n; i++) {
        cluster_node_start(&c->nodes[i]);
    }
    sim_world_run_for(c->world, SIM_S);
    wait_replaced(c);
    verify(c, "v1");
}

/* At the very end, one log rots where later flushes prove that it was whole: what recovery makes of it is all that counts. */
static void rot(struct cluster *c)
{
    struct cluster_node *n = &c->nodes[cluster_draw(c, 0, c->n - 1)];
    char path[ENV_PATH_MAX];
    const struct wal *wal;
    uint64_t found;
    uint64_t at;

    if (c->config.liar != 0) {
        n = &c->nodes[c->config.liar - 1]; /* what it lost may not have been noticed yet: no second disk may lose something */
    }
    if (can_replace(c)) {
        wait_replaced(c); /* what a disk did before: a second loss while a successor still learns takes the majority */
    }
    if (n->node == NULL || is_lost(n)) {
        return;
    }
    found = oracle_counts(c->oracle)->rot_found;
    wal = shard_wal(shards_at(control_shards(node_control(n->node)), (uint32_t)cluster_draw(c, 0, c->config.shards - 1)));
    while (wal->flush.running) {
        sim_world_run_for(c->world, SIM_MS); /* were it lost at the kill, nothing would prove that the one before it was whole */
    }
    if (wal->flush.offset <= wal->current->fresh_end) {
        return;
    }
    at = cluster_draw(c, wal->current->fresh_end, wal->flush.offset - 1);
    wal_path(wal, "wal", wal->current->sequence, path);
    oracle_trace(c->oracle, "cluster: n%u rots: %s at %" PRIu64, n->i + 1, path, at);
    sim_node_kill(n->machine, SIM_END_KILL);
    if (sim_node_flip_bit(n->machine, path, at, (unsigned)cluster_draw(c, 0, 7))) {
        n->rotten = true;
        oracle_node_rots(c->oracle, n->i);
        cluster_node_start(n);
        sim_world_run_for(c->world, SIM_S);
        heal_rot(c, n, oracle_counts(c->oracle)->rot_found - found);
    }
}

static void write_log(void *data, struct sim_node *node, const char *line, size_t length)
{
    struct cluster *c = data;
    oracle_trace(c->oracle, "%s: %.*s", sim_node_host(node), (int)length, line);
}

void cluster_run(const struct cluster_params *params, struct cluster_result *result)
{
    struct cluster *c = calloc(1, sizeof *c);
    struct sim_params sim;

    assert(c != NULL);
    c->params = params;
    sim_rng_init(&c->rng, params->seed ^ 0xc1c5);
    cluster_draw_config(c);
    sim_params_default(&sim);
    cluster_draw_world(c, &sim);
    sim.log_level = params->trace ? LOG_DEBUG : 0;
    sim.log_write = write_log;
    sim.log_data = c;
    c->world = sim_world_new(params->seed, &sim);
    c->oracle = oracle_new(c->world, params->seed, c->n);
    oracle_set_trace(c->oracle, params->trace);
    c->workload.oracle = c->oracle;
    c->workload.world = c->world;
    for (unsigned i = 0; i < c->n; i++) {
        cluster_node_init(c, i);
    }
    make_machines(c);
    safety(c);
    liveness(c);
    verify(c, "v0");
    c->over = true;
    rot(c);
    for (unsigned i = 0; i < c->n; i++) {
        sim_node_kill(c->nodes[i].machine, SIM_END_KILL);
    }
    result->hash = sim_world_hash(c->world);
    result->events = sim_world_events(c->world);
    result->virtual_ns = sim_world_now(c->world);
    result->nodes = c->n;
    result->shards = c->config.shards;
    result->counts = *oracle_counts(c->oracle);
    result->faults = *sim_swarm_counts(c->swarm);
    result->world = *sim_world_counts(c->world);
    sim_world_free(c->world);
    sim_swarm_free(c->swarm);
    oracle_free(c->oracle);
    free(c);
}
