#include "tests/unit/node/control_cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_log(void *data, struct sim_node *machine, const char *line, size_t length)
{
    struct cluster *cl = data;
    cl->not_opened += strstr(line, "replica_not_opened") != NULL;
    if (getenv("CLUSTER_LOG") != NULL) {
        fprintf(stderr, "%12.6f %s %.*s\n", (double)sim_world_now(cl->world) / 1e9, sim_node_host(machine), (int)length,
                line);
    }
}

void cluster_init(struct cluster *cl, uint64_t seed, uint32_t n)
{
    struct sim_params params;
    memset(cl, 0, sizeof *cl);
    sim_params_default(&params);
    params.log_level = getenv("CLUSTER_LOG") != NULL ? LOG_INFO : LOG_ERROR;
    params.log_write = on_log;
    params.log_data = cl;
    cl->world = sim_world_new(seed, &params);
    cl->n = n;
    for (uint32_t i = 0; i < n; i++) {
        struct cluster_node *node = &cl->nodes[i];
        char host[SIM_HOST_MAX];
        snprintf(host, sizeof host, "n%u", i + 1);
        node->cluster = cl;
        node->id = i + 1;
        node->machine = sim_node_new(cl->world, host);
        node->shards = 1;
        sim_node_make_dirs(node->machine, "/var");
    }
    cluster_seeds(cl, n);
}

void cluster_close(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->n; i++) {
        cl->nodes[i].restart = false;
    }
    sim_world_free(cl->world);
}

void cluster_seeds(struct cluster *cl, uint32_t n_seeds)
{
    for (uint32_t i = 0; i < cl->n; i++) {
        memset(cl->nodes[i].seeds, 0, sizeof cl->nodes[i].seeds);
        for (uint32_t s = 0; s < n_seeds; s++) {
            cl->nodes[i].seeds[s] = s + 1;
        }
    }
}

struct cluster_node *cluster_node(struct cluster *cl, uint32_t id)
{
    assert(id >= 1 && id <= cl->n);
    return &cl->nodes[id - 1];
}

/* ---- a node's life ------------------------------------------------------------------------------------------- */

static void on_closed(void *data)
{
    struct cluster_node *node = data;
    node->control = NULL;
    node->closed = true;
    env_loop_stop(sim_node_env(node->machine));
}

static void on_refused(void *data, int err, const char *text)
{
    struct cluster_node *node = data;
    node->refusal = err;
    snprintf(node->text, sizeof node->text, "%s", text);
    control_close(node->control, on_closed, node);
}

static void on_start(struct env *env, void *data)
{
    struct cluster_node *node = data;
    struct control_params params = {
        .env = env,
        .data_dir = "/var/cairn",
        .node = node->id,
        .rack = node->rack,
        .shards = node->shards,
        .log_file_bytes = 1u << 20,
        .log_max_bytes = 1u << 30,
        .log_reserve_bytes = 1u << 20,
        .cache_max_bytes = 4u << 20,
        .peer_receive_max_bytes = 64u << 20,
        .default_replication = 3,
        .forget_pledge = node->forget_pledge,
    };
    char listen[ENV_ADDRESS_MAX];

    snprintf(listen, sizeof listen, "n%u:9000", node->id);
    params.peer_listen = listen;
    for (uint32_t i = 0; i < CLUSTER_NODES_MAX && node->seeds[i] != 0; i++) {
        params.seeds[i].node = node->seeds[i];
        snprintf(params.seeds[i].address, sizeof params.seeds[i].address, "n%u:9000", node->seeds[i]);
        params.n_seeds++;
    }
    params.n_listeners = 1;
    snprintf(params.listeners[0].name, sizeof params.listeners[0].name, "native");
    snprintf(params.listeners[0].address, sizeof params.listeners[0].address, "n%u:9100", node->id);
    node->pool = buf_pool_new(1u << 20);
    assert(node->pool != NULL);
    params.pool = node->pool;
    node->open_error = control_open(&params, &node->control, node->text);
    if (node->open_error != 0) {
        env_loop_stop(env);
        return;
    }
    control_on_refused(node->control, on_refused, node);
}

static void start_again(struct sim_world *world, void *data)
{
    struct cluster_node *node = data;
    (void)world;
    if (node->restart && !sim_node_running(node->machine)) {
        cluster_start(node->cluster, node->id);
    }
}

static void on_ended(struct sim_node *machine, enum sim_end how, void *data)
{
    struct cluster_node *node = data;
    (void)how;
    if (node->control != NULL) {
        control_abandon(node->control);
        node->control = NULL;
    }
    if (node->pool != NULL) {
        buf_pool_free(node->pool);
        node->pool = NULL;
    }
    if (node->restart) {
        struct sim_world *world = sim_node_world(machine);
        sim_world_at(world, sim_world_now(world) + 200 * SIM_MS, start_again, node);
    }
}

void cluster_start(struct cluster *cl, uint32_t id)
{
    struct cluster_node *node = cluster_node(cl, id);
    struct sim_program program = {.start = on_start, .ended = on_ended, .data = node};
    node->open_error = 0;
    node->refusal = 0;
    node->closed = false;
    node->text[0] = '\0';
    sim_node_start(node->machine, &program);
}

void cluster_kill(struct cluster *cl, uint32_t id, enum sim_end how)
{
    sim_node_kill(cluster_node(cl, id)->machine, how);
}

void cluster_wipe(struct cluster *cl, uint32_t id)
{
    struct cluster_node *node = cluster_node(cl, id);
    assert(!sim_node_running(node->machine));
    sim_node_wipe_disk(node->machine);
    sim_node_make_dirs(node->machine, "/var");
}

/* ---- running ------------------------------------------------------------------------------------------------- */

struct wait {
    struct cluster *cl;
    bool (*holds)(struct cluster *cl, void *data);
    void *data;
};

/* Two majorities at work under two ids is what must never be. */
static void look(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->n; i++) {
        const struct control *c = cl->nodes[i].control;
        uint32_t k = 0;
        if (c == NULL || !c->metadata.ready) {
            continue;
        }
        while (k < cl->n_working && !uuid_equal(&cl->working[k], &c->id.cluster_id)) {
            k++;
        }
        if (k == cl->n_working) {
            assert(cl->n_working < CLUSTER_FOUNDED_MAX);
            cl->working[cl->n_working++] = c->id.cluster_id;
        }
    }
}

static bool looked(void *data)
{
    struct wait *wait = data;
    look(wait->cl);
    return wait->holds != NULL && wait->holds(wait->cl, wait->data);
}

bool cluster_run_until(struct cluster *cl, bool (*holds)(struct cluster *cl, void *data), void *data, uint64_t limit_ms)
{
    struct wait wait = {cl, holds, data};
    return sim_world_run_until_true(cl->world, looked, &wait, limit_ms * SIM_MS);
}

void cluster_run(struct cluster *cl, uint64_t ms)
{
    bool held = cluster_run_until(cl, NULL, NULL, ms);
    assert(!held);
}

bool cluster_settled(struct cluster *cl, void *data)
{
    const struct control *first = NULL;
    (void)data;
    for (uint32_t i = 0; i < cl->n; i++) {
        const struct control *c = cl->nodes[i].control;
        const struct metadata_node *n;
        if (c == NULL && sim_node_running(cl->nodes[i].machine)) {
            return false; /* just starting, or just ending */
        }
        if (c == NULL) {
            continue;
        }
        if (!control_formed(c) || !c->metadata.confirmed || c->refused) {
            return false;
        }
        n = metadata_fsm_node(c->metadata.fsm, c->node);
        if (n == NULL || n->n_listeners != 1) {
            return false;
        }
        if (first != NULL && (!uuid_equal(&first->id.cluster_id, &c->id.cluster_id) ||
                              metadata_fsm_digest(first->metadata.fsm) != metadata_fsm_digest(c->metadata.fsm))) {
            return false;
        }
        first = c;
    }
    return first != NULL && cluster_metadata_leader(cl) != NULL;
}

struct cluster_node *cluster_metadata_leader(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->n; i++) {
        if (cl->nodes[i].control != NULL && cl->nodes[i].control->metadata.ready) {
            return &cl->nodes[i];
        }
    }
    return NULL;
}

uint32_t cluster_metadata_voters(struct cluster *cl)
{
    struct cluster_node *leader = cluster_metadata_leader(cl);
    return leader == NULL ? 0 : core_config_voters(group_config(leader->control->metadata.group));
}

/* ---- topics -------------------------------------------------------------------------------------------------- */

struct topic_call {
    struct cluster_node *node;
    const char *name;
    uint32_t partitions;
    uint32_t replication;
    struct control_proposal proposal;
    bool done;
    int error;
};

static void topic_done(struct control_proposal *p, int error, const struct metadata_reply *reply)
{
    struct topic_call *call = container_of(p, struct topic_call, proposal);
    (void)reply;
    call->done = true;
    call->error = error;
}

static void create_topic(struct env *env, void *data)
{
    struct topic_call *call = data;
    Cairn__Command__MetadataCommand *command;
    char text[ERRMSG_SIZE];
    (void)env;
    call->error =
        control_place_topic(call->node->control, call->name, call->partitions, call->replication, &command, text);
    if (call->error != 0) {
        call->done = true;
        return;
    }
    call->proposal.done = topic_done;
    control_propose(call->node->control, command, &call->proposal);
    cairn__command__metadata_command__free_unpacked(command, NULL);
}

static void delete_topic(struct env *env, void *data)
{
    struct topic_call *call = data;
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__DeleteTopic body = CAIRN__COMMAND__DELETE_TOPIC__INIT;
    const struct metadata_topic *t = metadata_fsm_topic_named(control_metadata(call->node->control), call->name);
    struct uuid id;
    (void)env;
    assert(t != NULL);
    id = t->id;
    body.topic_id.data = id.bytes;
    body.topic_id.len = sizeof id.bytes;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_DELETE_TOPIC;
    command.delete_topic = &body;
    call->proposal.done = topic_done;
    control_propose(call->node->control, &command, &call->proposal);
}

static bool call_done(struct cluster *cl, void *data)
{
    (void)cl;
    return ((struct topic_call *)data)->done;
}

static int run_call(struct cluster *cl, struct topic_call *call, void (*fn)(struct env *env, void *data))
{
    if (!sim_node_call(call->node->machine, fn, call) || !cluster_run_until(cl, call_done, call, 20000)) {
        return ERR_TIMEOUT;
    }
    return call->error;
}

int cluster_create_topic(struct cluster *cl, uint32_t id, const char *name, uint32_t partitions, uint32_t replication)
{
    struct topic_call call = {
        .node = cluster_node(cl, id), .name = name, .partitions = partitions, .replication = replication};
    return run_call(cl, &call, create_topic);
}

int cluster_delete_topic(struct cluster *cl, uint32_t id, const char *name)
{
    struct topic_call call = {.node = cluster_node(cl, id), .name = name};
    return run_call(cl, &call, delete_topic);
}
