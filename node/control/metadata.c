/* The replica of the metadata group on this node, and what its state asks for: founding, registering, confirming. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"

/* ---- what the group tells ------------------------------------------------------------------------------------ */

static void on_apply(void *data, const struct entry *entry)
{
    struct control *c = data;
    struct metadata_replica_state *m = &c->metadata;
    struct metadata_reply reply;
    char text[ERRMSG_SIZE];
    int rv;

    if (m->failed) {
        return;
    }
    rv = metadata_fsm_apply(m->fsm, entry, &reply);
    if (rv != 0) {
        snprintf(text, sizeof text, "apply metadata entry %llu: %s", (unsigned long long)entry->index, err_text(rv));
        group_fail(m->group, rv, text);
        return;
    }
    if (entry->kind == ENTRY_COMMAND) {
        control_calls_applied(c, entry, &reply);
        m->nudge = m->leading;
    }
    control_wake(c);
}

static void on_leadership(void *data, bool leading, bool ready, uint64_t term)
{
    struct control *c = data;
    if (c->metadata.leading != leading || c->metadata.ready != ready) {
        log_event(c->env->logger, LOG_INFO, "metadata_leadership", "node=%u leading=%d ready=%d term=%llu", c->node,
                  leading, ready, (unsigned long long)term);
    }
    c->metadata.leading = leading;
    c->metadata.ready = ready;
    c->metadata.retry_ms = 0;
    c->calls.kick = true;
    control_wake(c);
}

static void on_failed(void *data, int err, const char *text)
{
    struct control *c = data;
    char line[ERRMSG_SIZE];
    c->metadata.failed = true;
    c->metadata.leading = false;
    c->metadata.ready = false;
    snprintf(line, sizeof line, "the metadata replica cannot go on: %.200s", text);
    control_refuse(c, err, line);
}

static const struct group_fsm metadata_group_fsm = {
    .apply = on_apply,
    .leadership = on_leadership,
    .failed = on_failed,
};

/* ---- opening ------------------------------------------------------------------------------------------------- */

static int founding_config(const struct control *c, struct core_config *config)
{
    uint32_t n = c->id.founders.n < METADATA_VOTERS_MAX ? c->id.founders.n : METADATA_VOTERS_MAX;
    memset(config, 0, sizeof *config);
    for (uint32_t i = 0; i < n; i++) {
        char address[CORE_ADDRESS_SIZE];
        int rv;
        snprintf(address, sizeof address, "%u.%u", c->id.founders.seeds[i].node, i + 1);
        rv = core_config_add(config, i + 1, CORE_VOTER, address);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int refuse_log(const struct wal_group_info *info, const struct control *c, char *errmsg)
{
    if (info->damaged) {
        snprintf(errmsg, ERRMSG_SIZE,
                 "this node's copy of the metadata is corrupt: replace the node by one with an empty "
                 "directory and a new id");
    } else {
        snprintf(errmsg, ERRMSG_SIZE,
                 "the log has metadata replica %llu, the identity file %llu: they are of different "
                 "disks or times; restore both together",
                 (unsigned long long)info->replica, (unsigned long long)c->id.metadata_replica);
    }
    return ERR_CORRUPT;
}

int metadata_check_log(const struct control *c, struct wal *wal, char *errmsg)
{
    struct wal_group *found = wal_group_find(wal, METADATA_GROUP);
    struct wal_group_info info;

    if (found == NULL) {
        return 0;
    }
    wal_group_info(found, &info);
    if (c->id.metadata_replica != 0 && !info.damaged && !info.tombstone && info.replica == c->id.metadata_replica) {
        return 0;
    }
    return refuse_log(&info, c, errmsg);
}

int metadata_open(struct control *c, char *errmsg)
{
    struct shard *shard = shards_at(c->shards, 0);
    struct wal_group *found = wal_group_find(shard_wal(shard), METADATA_GROUP);
    struct group_params params = {
        .group = METADATA_GROUP, .replica = c->id.metadata_replica, .fsm = &metadata_group_fsm, .data = c};
    struct core_config founders;
    const char *how;
    int rv;

    if (c->id.metadata_replica == 0) {
        return 0; /* join.c gets one */
    }
    if (found != NULL) {
        how = "resume";
        rv = group_resume(shard_host(shard), &params, &c->metadata.group);
    } else if (c->id.founder) {
        how = "found";
        rv = founding_config(c, &founders);
        params.founders = &founders;
        params.preferred = c->id.metadata_replica == 1;
        if (rv == 0) {
            rv = group_found(shard_host(shard), &params, &c->metadata.group);
        }
    } else {
        how = "join";
        rv = group_join(shard_host(shard), &params, &c->metadata.group);
    }
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "%s the metadata replica: %s", how, err_text(rv));
        return rv;
    }
    log_event(c->env->logger, LOG_INFO, "metadata_open", "node=%u replica=%llu how=%s", c->node,
              (unsigned long long)c->id.metadata_replica, how);
    return 0;
}

/* ---- founding: the first command of a cluster, by whoever leads first ---------------------------------------- */

static void founded(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct control *c = container_of(proposal, struct control, metadata.found_proposal);
    c->metadata.founding = false;
    if (error == 0) {
        log_event(c->env->logger, LOG_INFO, "cluster_founded", "node=%u founders=%u", c->node, c->id.founders.n);
    }
}

static void found_cluster(struct control *c)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__FoundCluster body = CAIRN__COMMAND__FOUND_CLUSTER__INIT;
    Cairn__Command__RegisterNode *nodes = calloc(c->id.founders.n, sizeof *nodes);
    Cairn__Command__RegisterNode *pointers[CONTROL_SEEDS_MAX];
    char none[1] = "";

    if (nodes == NULL) {
        return;
    }
    for (uint32_t i = 0; i < c->id.founders.n; i++) {
        struct seed *seed = &c->id.founders.seeds[i];
        cairn__command__register_node__init(&nodes[i]);
        nodes[i].node = seed->node;
        nodes[i].disk_id.data = seed->disk_id.bytes;
        nodes[i].disk_id.len = sizeof seed->disk_id.bytes;
        nodes[i].peer_address = seed->address;
        nodes[i].rack = none; /* each tells its own when it sees that it is registered */
        nodes[i].version_max = METADATA_COMMAND_VERSION;
        pointers[i] = &nodes[i];
    }
    body.cluster_id.data = c->id.cluster_id.bytes;
    body.cluster_id.len = sizeof c->id.cluster_id.bytes;
    body.founders = pointers;
    body.n_founders = c->id.founders.n;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_FOUND_CLUSTER;
    command.found_cluster = &body;
    c->metadata.founding = true;
    c->metadata.found_proposal.done = founded;
    c->metadata.found_proposal.timeout_ms = CONTROL_CALL_TIMEOUT_MS;
    control_propose(c, &command, &c->metadata.found_proposal);
    free(nodes);
}

/* ---- this node's registration -------------------------------------------------------------------------------- */

static bool registration_differs(const struct control *c, const struct metadata_node *n)
{
    if (n == NULL || n->version_max != METADATA_COMMAND_VERSION || strcmp(n->peer_address, c->advertised) != 0 ||
        strcmp(n->rack, c->rack) != 0 || n->n_listeners != c->n_listeners) {
        return true;
    }
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const char *address = metadata_node_listener(n, c->listeners[i].name);
        if (address == NULL || strcmp(address, c->listeners[i].address) != 0) {
            return true;
        }
    }
    return false;
}

static void registered(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct control *c = container_of(proposal, struct control, metadata.register_proposal);
    c->metadata.registering = false;
    if (error == 0) {
        log_event(c->env->logger, LOG_INFO, "node_registered", "node=%u address=%s rack=%s", c->node, c->advertised,
                  c->rack);
    } else if (error == ERR_DISK_WIPED) {
        control_refuse(c, error, reply->text);
    }
}

static void register_self(struct control *c)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    struct registration registration;
    join_registration(c, &registration);
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_REGISTER_NODE;
    command.register_node = &registration.message;
    c->metadata.registering = true;
    c->metadata.register_proposal.done = registered;
    c->metadata.register_proposal.timeout_ms = CONTROL_CALL_TIMEOUT_MS;
    control_propose(c, &command, &c->metadata.register_proposal);
}

/* ---- confirming: only then local groups may be founded or deleted -------------------------------------------- */

static void confirm_done(struct control_barrier *barrier, int error)
{
    struct control *c = container_of(barrier, struct control, metadata.confirm_barrier);
    c->metadata.confirming = false;
    if (error == 0) {
        c->metadata.confirmed = true;
        c->reconcile.dirty = true;
        c->metadata.retry_ms = 0;
        log_event(c->env->logger, LOG_INFO, "metadata_confirmed", "node=%u index=%llu", c->node,
                  (unsigned long long)metadata_fsm_index(c->metadata.fsm));
        control_wake(c);
    }
}

static void confirm(struct control *c)
{
    c->metadata.confirming = true;
    c->metadata.confirm_barrier.done = confirm_done;
    c->metadata.confirm_barrier.timeout_ms = CONTROL_CALL_TIMEOUT_MS;
    control_barrier(c, &c->metadata.confirm_barrier);
}

static void nudged(struct group_barrier *barrier, int status)
{
    struct control *c = container_of(barrier, struct control, metadata.nudge_barrier);
    c->metadata.nudging = false;
    control_wake(c);
}

void metadata_tick(struct control *c, uint64_t now_ms)
{
    struct metadata_replica_state *m = &c->metadata;
    bool founded_yet = !uuid_is_nil(metadata_fsm_cluster_id(m->fsm));

    if (m->group == NULL || m->failed || now_ms < m->retry_ms) {
        return;
    }
    m->retry_ms = now_ms + CONTROL_METADATA_RETRY_MS;
    if (m->ready && !founded_yet && !m->founding) {
        found_cluster(c);
    }
    if (!m->confirmed && !m->confirming && founded_yet) {
        confirm(c);
    }
    if (m->confirmed && !m->registering && registration_differs(c, metadata_fsm_node(m->fsm, c->node))) {
        register_self(c);
    }
}

void metadata_turn(struct control *c)
{
    struct metadata_replica_state *m = &c->metadata;
    uint64_t revision = metadata_fsm_revision(m->fsm);

    if (m->nudge && !m->nudging && m->ready) {
        m->nudge = false;
        m->nudge_barrier.done = nudged;
        m->nudging = group_barrier(m->group, &m->nudge_barrier) == 0;
    }
    if (revision != m->revision) {
        m->revision = revision;
        m->retry_ms = 0;
        c->reconcile.dirty = true;
        control_peers_follow_metadata(c);
    }
    if (m->retry_ms == 0) {
        metadata_tick(c, env_now_ms(c->env)); /* something has changed: no need to wait for the time */
    }
}

struct group *control_metadata_group(const struct control *c)
{
    return c->metadata.group;
}

const struct metadata_fsm *control_metadata(const struct control *c)
{
    return c->metadata.fsm;
}

uint32_t control_metadata_leader(const struct control *c)
{
    struct group_info info;
    uint64_t term = 0;
    uint32_t node = control_leader_of(c, METADATA_GROUP, &term);

    if (c->metadata.group != NULL) {
        group_info(c->metadata.group, &info);
        if (info.leader_node != 0 && info.term >= term) {
            return info.leader_node;
        }
    }
    return node;
}
