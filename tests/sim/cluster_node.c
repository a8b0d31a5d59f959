/* One machine with a node on it, or with clients: how its program starts and ends. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"
#include "node/shard/shard_internal.h"
#include "tests/sim/cluster_internal.h"

#define DATA_DIR "/var/cairn"
#define STOP_LIMIT_MS 1000
#define STALL_MIN_NS (300 * SIM_MS)
#define STALL_MAX_NS (3 * SIM_S)
#define REFUSALS_MAX 3 /* after that many, nobody tries to start it again */

/* ---- nodes ----------------------------------------------------------------------------------------------------------- */

/* As cairnd would from its configuration. */
static void fill_params(const struct cluster_node *n, struct env *env, char *peer, size_t peer_size, struct node_params *p)
{
    const struct cluster *c = n->cluster;

    memset(p, 0, sizeof *p);
    p->env = env;
    p->version = "sim";
    p->n_listeners = 1;
    snprintf(p->listeners[0].name, sizeof p->listeners[0].name, "client");
    snprintf(p->listeners[0].address, sizeof p->listeners[0].address, "n%u:9092", n->i + 1);
    p->memory_max_bytes = 192u << 20;
    p->connections_max = 1000;
    p->idle_timeout_ms = 600000;
    snprintf(peer, peer_size, "n%u:7500", n->i + 1);
    p->control = (struct control_params){
        .data_dir = DATA_DIR,
        .node = n->i + 1,
        .rack = "",
        .peer_listen = peer,
        .n_seeds = c->config.seeds,
        .shards = c->config.shards,
        .log_file_bytes = c->config.log_file_bytes,
        .log_max_bytes = 2ull << 30,
        .log_reserve_bytes = 16u << 20,
        .cache_max_bytes = c->config.cache_bytes,
        .peer_receive_max_bytes = 256u << 20,
        .election_timeout_ms = c->config.election_timeout_ms,
        .heartbeat_ms = c->config.heartbeat_ms,
        .default_partitions = 2,
        .default_replication = c->n < 3 ? c->n : 3,
        .groups = &c->config.groups,
    };
    for (unsigned i = 0; i < c->config.seeds; i++) {
        p->control.seeds[i].node = i + 1;
        snprintf(p->control.seeds[i].address, sizeof p->control.seeds[i].address, "n%u:7500", i + 1);
    }
}

/* The disk has lied, or would not give what it holds, which nobody can tell from rot: from here on its node may find out, at
 * any time. */
static void note_lies(struct cluster_node *n)
{
    if (!n->rotten && (sim_node_lies(n->machine) > 0 || sim_node_reads_failed(n->machine) > 0)) {
        n->rotten = true;
        oracle_node_rots(n->cluster->oracle, n->i);
    }
}

/* Whether what its disk did explains why the node ends. */
static bool disk_explains(struct cluster_node *n)
{
    note_lies(n);
    return n->rotten || sim_node_disk_errors(n->machine) > 0;
}

static void on_refused(void *data, int err, const char *text)
{
    struct cluster_node *n = data;
    note_lies(n);
    if (n->rotten) {
        oracle_trace(n->cluster->oracle, "cluster: n%u refuses to go on: %s: %s", n->i + 1, err_name(err), text);
        oracle_counts(n->cluster->oracle)->rot_refused++;
        n->refused = true;
        return;
    }
    if (n->wiped && err == ERR_DISK_WIPED) {
        oracle_counts(n->cluster->oracle)->wiped_refused++;
        env_loop_stop(n->env); /* as cairnd ends then */
        return;
    }
    oracle_violation(n->cluster->oracle, "node %u: refuses to go on: %s: %s", n->i + 1, err_name(err), text);
}

static void look(struct cluster_hook *h)
{
    struct cluster_node *n = h->node;

    note_lies(n);
    /* While it closes, a shard takes its hook away before its groups go. */
    if (n->node != NULL && node_control(n->node)->shards != NULL && !list_empty(&h->shard->hook.link)) {
        oracle_turn(n->cluster->oracle, n->i, n->node, h->shard);
    }
}

/* What peers and clients are told leaves behind this; the turn may die in the flush that follows. */
static void on_submitted(struct env_hook *hook)
{
    look(container_of(hook, struct cluster_hook, submitted));
}

static void on_last(struct env_hook *hook)
{
    look(container_of(hook, struct cluster_hook, last));
}

static void start(struct env *env, void *data)
{
    struct cluster_node *n = data;
    struct cluster *c = n->cluster;
    struct node_params *params = malloc(sizeof *params);
    char peer[ENV_ADDRESS_MAX];
    char errmsg[ERRMSG_SIZE];
    struct shards *shards;
    int rv;

    assert(params != NULL);
    n->env = env;
    n->stopping = false;
    n->refused = false;
    note_lies(n);
    fill_params(n, env, peer, sizeof peer, params);
    rv = node_open(params, &n->node, errmsg);
    free(params);
    if (rv != 0) {
        n->node = NULL;
        oracle_trace(c->oracle, "cluster: n%u does not start: %s: %s", n->i + 1, err_name(rv), errmsg);
        if (n->rotten) {
            n->refused = true;
            n->refusals++;
            oracle_counts(c->oracle)->rot_refused++;
        } else if (!disk_explains(n)) {
            oracle_violation(c->oracle, "node %u does not start: %s: %s", n->i + 1, err_name(rv), errmsg);
        }
        env_loop_stop(env);
        return;
    }
    node_on_refused(n->node, on_refused, n);
    oracle_node_started(c->oracle, n->i, n->node);
    shards = control_shards(node_control(n->node));
    for (uint32_t s = 0; s < shards_count(shards); s++) {
        struct cluster_hook *h = &n->hooks[s];
        *h = (struct cluster_hook){
            .submitted = {.run = on_submitted}, .last = {.run = on_last}, .node = n, .shard = shards_at(shards, s)};
        env_hook_add_at(shard_env(h->shard), &h->submitted, ENV_PHASE_SUBMIT);
        env_hook_add_at(shard_env(h->shard), &h->last, ENV_PHASE_LAST);
    }
}

/* The swarm restarts nobody any more: what ends now had been told to stop before. */
static void start_again(struct sim_world *world, void *data)
{
    cluster_node_start(data);
}

static void ended(struct sim_node *machine, enum sim_end how, void *data)
{
    static const char *const hows[] = {"", "exit", "fatal", "kill", "power"};
    struct cluster_node *n = data;
    struct oracle *o = n->cluster->oracle;

    oracle_trace(o, "cluster: n%u ends: %s %s", n->i + 1, hows[how], how == SIM_END_FATAL ? sim_node_fatal_reason(machine) : "");
    if (how == SIM_END_FATAL) {
        if (!disk_explains(n)) {
            oracle_violation(o, "node %u: fatal: %s", n->i + 1, sim_node_fatal_reason(machine));
        }
        oracle_counts(o)->fatals++;
    }
    if (n->cluster->healed && !n->cluster->over && !n->wiped) {
        sim_world_at(n->cluster->world, sim_world_now(n->cluster->world) + 100 * SIM_MS, start_again, n);
    }
    if (n->node == NULL) {
        return;
    }
    if (!n->stopping) {
        oracle_node_ended(o, n->i, n->node);
        node_abandon(n->node);
    }
    n->node = NULL; /* one that was about to close is in pieces: its memory stays */
}

void cluster_node_init(struct cluster *c, unsigned i)
{
    struct cluster_node *n = &c->nodes[i];
    char host[16];

    snprintf(host, sizeof host, "n%u", i + 1);
    n->cluster = c;
    n->i = i;
    n->machine = sim_node_new(c->world, host);
    sim_node_make_dirs(n->machine, "/var");
}

/* Each sync takes longer than an election: what a deposed leader wrote is still on its way when it is replaced. Not while
 * the node starts, which waits for one sync after the other: that would keep it busy until long after healing. */
void cluster_disk_stalls(struct cluster_node *n, bool on)
{
    struct sim_disk_knobs *knobs = sim_node_disk_knobs(n->machine);
    const struct sim_disk_knobs *usual = &sim_world_knobs(n->cluster->world)->disk;
    knobs->sync_min_ns = on ? STALL_MIN_NS : usual->sync_min_ns;
    knobs->sync_max_ns = on ? STALL_MAX_NS : usual->sync_max_ns;
}

void cluster_node_start(struct cluster_node *n)
{
    struct sim_program program = {start, ended, n};
    if (!sim_node_running(n->machine) && n->refusals < REFUSALS_MAX) {
        oracle_trace(n->cluster->oracle, "cluster: n%u starts", n->i + 1);
        cluster_disk_stalls(n, false);
        n->begun_ns = sim_world_now(n->cluster->world);
        sim_node_start(n->machine, &program);
    }
}

static void stopped(void *data)
{
    struct cluster_node *n = data;
    n->node = NULL;
    n->stopping = false;
    oracle_counts(n->cluster->oracle)->node_stops++;
    env_loop_stop(n->env);
}

static void stop(struct env *env, void *data)
{
    struct cluster_node *n = data;
    oracle_trace(n->cluster->oracle, "cluster: n%u stops", n->i + 1);
    n->stopping = true;
    oracle_node_leaves(n->cluster->oracle, n->i);
    node_stop(n->node, STOP_LIMIT_MS, stopped, n);
}

void cluster_node_stop(struct cluster_node *n)
{
    if (n->node != NULL && !n->stopping && !sim_node_paused(n->machine)) {
        (void)sim_node_call(n->machine, stop, n);
    }
}

/* ---- clients --------------------------------------------------------------------------------------------------------- */

static void machine_begin(struct env *env, void *data)
{
    struct cluster_machine *m = data;
    for (unsigned i = 0; i < m->n; i++) {
        m->clients[i] = m->kinds[i]->start(env, &m->cluster->workload);
    }
}

static void machine_ended(struct sim_node *machine, enum sim_end how, void *data)
{
    struct cluster_machine *m = data;
    for (unsigned i = 0; i < m->n; i++) {
        if (m->clients[i] != NULL) {
            m->kinds[i]->abandon(m->clients[i]);
            m->clients[i] = NULL;
        }
    }
}

struct cluster_machine *cluster_machine_add(struct cluster *c, const char *host)
{
    struct cluster_machine *m = &c->machines[c->n_machines++];
    assert(c->n_machines <= CLUSTER_MACHINES_MAX);
    m->cluster = c;
    m->machine = sim_node_new(c->world, host);
    return m;
}

void cluster_machine_start(struct cluster_machine *m)
{
    struct sim_program program = {machine_begin, machine_ended, m};
    if (!sim_node_running(m->machine)) {
        sim_node_start(m->machine, &program);
    }
}
