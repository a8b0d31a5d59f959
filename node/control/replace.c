/* A replica whose records are corrupt gets a successor under a new id on the same disk. Its node asks the metadata for
 * one, drops the old records (reconcile.c) and joins empty; the group's leader, wherever that is, changes the members
 * one at a time: the old one is removed, the successor learns, and is promoted when it has caught up. Every step
 * follows from what metadata and configuration say, so whoever dies in between is simply continued. */
#include <stdlib.h>

#include "node/control/control_internal.h"

void replace_init(struct control *c)
{
    list_init(&c->replace.operations);
}

/* ---- on the node of the corrupt replica ---------------------------------------------------------------------- */

static void proposed(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    struct control *c = container_of(proposal, struct control, replace.proposal);
    c->replace.proposing = false;
    if (error == 0) {
        log_event(c->env->logger, LOG_INFO, "replica_replaced", "group=%llu new_replica=%llu node=%u",
                  (unsigned long long)c->replace.group, (unsigned long long)reply->value, c->node);
    }
}

static void propose_successor(struct control *c, const struct local *l)
{
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__ReplaceReplica body = CAIRN__COMMAND__REPLACE_REPLICA__INIT;
    body.group = l->group;
    body.old_replica = l->replica;
    body.node = c->node;
    body.disk_id.data = c->id.disk_id.bytes;
    body.disk_id.len = sizeof c->id.disk_id.bytes;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_REPLACE_REPLICA;
    command.replace_replica = &body;
    c->replace.proposing = true;
    c->replace.group = l->group;
    c->replace.proposal.done = proposed;
    c->replace.proposal.timeout_ms = CONTROL_CALL_TIMEOUT_MS;
    control_propose(c, &command, &c->replace.proposal);
}

static void replace_corrupt(struct control *c)
{
    for (struct local *l = c->reconcile.table; l != NULL; l = l->hh.next) {
        const struct metadata_partition *p;
        const struct metadata_replica *mine;
        if (l->state != LOCAL_FAILED || !l->corrupt) {
            continue;
        }
        p = metadata_fsm_partition_of_group(c->metadata.fsm, l->group);
        mine = p == NULL ? NULL : reconcile_own_replica(c, p);
        if (mine == NULL || mine->replica != l->replica) {
            continue; /* deleted, or replaced already */
        }
        if (p->n_replicas >= 3) {
            propose_successor(c, l);
            return;
        }
        if (!l->hopeless_told) { /* what is left of it is no majority that could let another one in */
            l->hopeless_told = true;
            log_event(c->env->logger, LOG_ERROR, "replica_not_replaceable",
                      "group=%llu topic=%s partition=%u replicas=%u text=\"too few replicas are left to heal it\"",
                      (unsigned long long)l->group, p->topic->name, p->partition, p->n_replicas);
        }
    }
}

/* ---- on the leader of the group ------------------------------------------------------------------------------ */

struct members_op {
    struct shard_op op;
    struct control *control;
    struct list link;
    uint64_t group;
    uint32_t n;
    struct {
        uint64_t replica;
        uint32_t node;
    } wanted[METADATA_REPLICAS_MAX];
    bool settled;
    const char *step; /* begun; NULL: none */
    uint64_t step_replica;
};

static bool is_wanted(const struct members_op *op, uint64_t replica)
{
    for (uint32_t i = 0; i < op->n; i++) {
        if (op->wanted[i].replica == replica) {
            return true;
        }
    }
    return false;
}

static void begin(struct members_op *op, struct group *g, enum core_change_kind kind, uint64_t replica, uint32_t node,
                  const char *step)
{
    if (group_change(g, kind, replica, node) == 0) { /* refused: it is tried again */
        op->step = step;
        op->step_replica = replica;
    }
}

/* A member whose successor, on the same node, is wanted. Its records are gone, so it goes first: with the successor as a
 * voter beside it a quorum would be three of four, and a disk that fails again would stop the group for good. */
static const struct core_member *dead_member(const struct members_op *op, const struct core_config *config)
{
    for (uint32_t i = 0; i < config->n; i++) {
        const struct core_member *m = &config->members[i];
        if (is_wanted(op, m->id) || (m->role == CORE_VOTER && core_config_voters(config) < 3)) {
            continue;
        }
        for (uint32_t k = 0; k < op->n; k++) {
            if (op->wanted[k].node == group_address_node(m->address)) {
                return m;
            }
        }
    }
    return NULL;
}

/* Ids only rise: a member that is newer than the replica wanted on its node is the successor that another leader has already
 * let in. What is wanted here is old then (this node's read model lags): acted upon, it would remove a good replica. */
static bool wanted_is_old(const struct members_op *op, const struct core_config *config)
{
    for (uint32_t i = 0; i < config->n; i++) {
        for (uint32_t k = 0; k < op->n; k++) {
            if (op->wanted[k].node == group_address_node(config->members[i].address) &&
                config->members[i].id > op->wanted[k].replica) {
                return true;
            }
        }
    }
    return false;
}

/* At most one step; true when nothing is left to do. On the shard's thread. */
static bool step_members(struct members_op *op, struct group *g)
{
    const struct core_config *config = group_config(g);
    const struct core_member *dead = dead_member(op, config);
    if (wanted_is_old(op, config)) {
        return false; /* looked at again */
    }
    if (dead != NULL) {
        begin(op, g, CORE_REMOVE, dead->id, group_address_node(dead->address), "member_removed");
        return false;
    }
    for (uint32_t i = 0; i < op->n; i++) {
        const struct core_member *member = core_config_find(config, op->wanted[i].replica);
        enum core_catch_up_status status;
        if (member == NULL) {
            begin(op, g, CORE_ADD_LEARNER, op->wanted[i].replica, op->wanted[i].node, "learner_added");
            return false;
        }
        if (member->role == CORE_VOTER) {
            continue;
        }
        status = core_catch_up_status(group_core(g), member->id);
        if (status == CORE_CATCH_UP_DONE) {
            begin(op, g, CORE_PROMOTE, op->wanted[i].replica, op->wanted[i].node, "learner_promoted");
        } else if (status != CORE_CATCH_UP_RUNNING && group_catch_up(g, member->id) == 0) {
            op->step = "catch_up_started";
            op->step_replica = op->wanted[i].replica;
        }
        return false;
    }
    for (uint32_t i = 0; i < config->n; i++) {
        uint64_t replica = config->members[i].id;
        if (!is_wanted(op, replica)) {
            begin(op, g, CORE_REMOVE, replica, group_address_node(config->members[i].address), "member_removed");
            return false;
        }
    }
    return true;
}

static void members_run(struct shard *shard, struct shard_op *shard_op)
{
    struct members_op *op = container_of(shard_op, struct members_op, op);
    struct group *g = group_host_find(shard_host(shard), op->group);
    struct group_info info;

    if (g != NULL) {
        group_info(g, &info);
        if (info.leading && info.ready) {
            op->settled = step_members(op, g);
        }
    }
    shard_op_complete(shard_op);
}

static uint64_t newest_replica(const struct metadata_partition *p)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        if (!p->replicas[i].founder && p->replicas[i].replica > newest) {
            newest = p->replicas[i].replica;
        }
    }
    return newest;
}

static void members_done(struct shard_op *shard_op)
{
    struct members_op *op = container_of(shard_op, struct members_op, op);
    struct control *c = op->control;
    struct local *l = reconcile_find(c, op->group);

    if (op->step != NULL) {
        log_event(c->env->logger, LOG_INFO, "members_step", "group=%llu step=%s replica=%llu",
                  (unsigned long long)op->group, op->step, (unsigned long long)op->step_replica);
    }
    if (op->settled && l != NULL) {
        for (uint32_t i = 0; i < op->n; i++) {
            l->members_settled =
                op->wanted[i].replica > l->members_settled ? op->wanted[i].replica : l->members_settled;
        }
    }
    c->replace.under_way--;
    list_remove(&op->link);
    free(op);
}

static void change_members(struct control *c, const struct metadata_partition *p)
{
    struct members_op *op = calloc(1, sizeof *op);
    if (op == NULL) {
        return;
    }
    op->control = c;
    op->group = p->group;
    op->n = p->n_replicas;
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        op->wanted[i].replica = p->replicas[i].replica;
        op->wanted[i].node = p->replicas[i].node;
    }
    op->op.run = members_run;
    op->op.done = members_done;
    list_push_back(&c->replace.operations, &op->link);
    c->replace.under_way++;
    shards_submit(c->shards, p->group, &op->op);
}

static void follow_replacements(struct control *c)
{
    for (const struct leader *l = c->leaders.table; l != NULL && c->replace.under_way < CONTROL_REPLACE_BATCH;
         l = l->hh.next) {
        const struct metadata_partition *p;
        const struct local *local;
        uint64_t newest;
        if (l->node != c->node || l->group == METADATA_GROUP) {
            continue;
        }
        p = metadata_fsm_partition_of_group(c->metadata.fsm, l->group);
        newest = p == NULL ? 0 : newest_replica(p);
        local = reconcile_find(c, l->group);
        if (newest != 0 && local != NULL && local->members_settled < newest) {
            change_members(c, p);
        }
    }
}

void replace_tick(struct control *c, uint64_t now_ms)
{
    if (now_ms < c->replace.next_ms || !c->metadata.confirmed || !c->reconcile.scanned) {
        return;
    }
    c->replace.next_ms = now_ms + CONTROL_REPLACE_MS;
    if (!c->replace.proposing) {
        replace_corrupt(c);
    }
    if (c->replace.under_way == 0) {
        follow_replacements(c);
    }
}

void replace_free(struct control *c)
{
    struct list *pos;
    while ((pos = list_pop_front(&c->replace.operations)) != NULL) {
        free(list_entry(pos, struct members_op, link));
    }
}
