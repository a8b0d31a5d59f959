/* Local groups match the metadata: what this node should hold is founded or joined, what was deleted goes. Only from
 * metadata that its leader has confirmed since this start: replaying the past would found again what was deleted long
 * ago. Entries applied after that point are new to this life, so they need no confirmation of their own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"

struct reconcile_op {
    struct control *control;
    struct list link;
    uint64_t group;
    struct wal_write write; /* of a tombstone for records that no replica was opened on */
    union {
        struct partition_open open;
        struct partition_delete delete;
        struct partition_configure configure;
    } u;
};

/* ---- what the logs hold at start ----------------------------------------------------------------------------- */

struct scan_op {
    struct shard_op op;
    struct control *control;
    struct wal_group_info *infos;
    size_t n;
    size_t capacity;
    bool failed;
};

static void scan_group(void *data, struct wal_group *g)
{
    struct scan_op *scan = data;
    if (scan->n == scan->capacity) {
        size_t capacity = scan->capacity == 0 ? 64 : 2 * scan->capacity;
        struct wal_group_info *infos = realloc(scan->infos, capacity * sizeof *infos);
        if (infos == NULL) {
            scan->failed = true;
            return;
        }
        scan->infos = infos;
        scan->capacity = capacity;
    }
    wal_group_info(g, &scan->infos[scan->n++]);
}

static void scan_run(struct shard *shard, struct shard_op *op)
{
    wal_group_each(shard_wal(shard), scan_group, container_of(op, struct scan_op, op));
    shard_op_complete(op);
}

struct local *reconcile_find(const struct control *c, uint64_t group)
{
    struct local *l;
    HASH_FIND(hh, c->reconcile.table, &group, sizeof group, l);
    return l;
}

static struct local *local_add(struct control *c, uint64_t group, uint64_t replica, enum local_state state)
{
    struct local *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->group = group;
    l->replica = replica;
    l->state = state;
    HASH_ADD(hh, c->reconcile.table, group, sizeof l->group, l);
    if (l->hh.tbl == NULL) {
        free(l);
        return NULL;
    }
    return l;
}

static void local_drop(struct control *c, struct local *l)
{
    HASH_DEL(c->reconcile.table, l);
    free(l);
}

static void scan_done(struct shard_op *op)
{
    struct scan_op *scan = container_of(op, struct scan_op, op);
    struct control *c = scan->control;

    for (size_t i = 0; i < scan->n && !scan->failed; i++) {
        const struct wal_group_info *info = &scan->infos[i];
        if (info->group == METADATA_GROUP || info->tombstone) {
            continue;
        }
        struct local *l = local_add(c, info->group, info->replica, info->damaged ? LOCAL_FAILED : LOCAL_OPEN);
        if (l == NULL) {
            scan->failed = true;
        } else {
            l->corrupt = info->damaged;
        }
    }
    if (scan->failed) {
        env_fatal(c->env, "out of memory while listing the local replicas");
    }
    c->reconcile.scanning--;
    c->reconcile.scanned = c->reconcile.scanning == 0;
    c->reconcile.dirty = true;
    control_wake(c);
    free(scan->infos);
    free(scan);
}

void reconcile_open(struct control *c)
{
    uint32_t n = shards_count(c->shards);
    list_init(&c->reconcile.operations);
    c->reconcile.scanning = n;
    for (uint32_t i = 0; i < n; i++) {
        struct scan_op *scan = calloc(1, sizeof *scan);
        if (scan == NULL) {
            env_fatal(c->env, "out of memory while listing the local replicas");
        }
        scan->control = c;
        scan->op.run = scan_run;
        scan->op.done = scan_done;
        shards_submit(c->shards, i, &scan->op); /* group id i lives on shard i */
    }
}

/* ---- operations ---------------------------------------------------------------------------------------------- */

static struct reconcile_op *op_new(struct control *c, uint64_t group)
{
    struct reconcile_op *op = calloc(1, sizeof *op);
    if (op == NULL) {
        return NULL;
    }
    op->control = c;
    op->group = group;
    list_push_back(&c->reconcile.operations, &op->link);
    c->reconcile.under_way++;
    return op;
}

static void op_end(struct reconcile_op *op)
{
    op->control->reconcile.under_way--;
    control_wake(op->control);
    list_remove(&op->link);
    free(op);
}

static void retry_later(struct control *c)
{
    c->reconcile.retry_ms = env_now_ms(c->env) + CONTROL_RECONCILE_RETRY_MS;
}

static void opened(struct shard_op *shard_op)
{
    struct reconcile_op *op = container_of(shard_op, struct reconcile_op, u.open.op);
    struct control *c = op->control;
    struct local *l = reconcile_find(c, op->group);
    int error = op->u.open.error;

    if (error == 0) {
        l->state = LOCAL_OPEN;
        c->reconcile.dirty = true; /* its settings */
    } else {
        log_event(c->env->logger, LOG_ERROR, "replica_not_opened", "group=%llu replica=%llu err=%s",
                  (unsigned long long)op->group, (unsigned long long)op->u.open.replica, err_name(error));
        if (error == ERR_EXISTS || error == ERR_CORRUPT) {
            l->state = LOCAL_FAILED; /* a tombstone, or damage: no attempt will do better */
        } else {
            local_drop(c, l);
            retry_later(c);
        }
    }
    op_end(op);
}

static int founders_of(const struct metadata_partition *p, struct core_config *config)
{
    memset(config, 0, sizeof *config);
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        char address[CORE_ADDRESS_SIZE];
        int rv;
        snprintf(address, sizeof address, "%u.%llu", p->replicas[i].node, (unsigned long long)p->replicas[i].replica);
        rv = core_config_add(config, p->replicas[i].replica, CORE_VOTER, address);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

/* Entry 1 names all founders. Where one was replaced meanwhile this replica, which never voted, starts empty instead
 * and gets entry 1 from the others. */
static bool founds(const struct metadata_partition *p, const struct metadata_replica *r)
{
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        if (!p->replicas[i].founder) {
            return false;
        }
    }
    return r->founder;
}

/* A successor takes the place of a replica whose records were deleted here: its tombstone has done its duty. */
static void open_run(struct shard *shard, struct shard_op *shard_op)
{
    struct partition_open *open = container_of(shard_op, struct partition_open, op);
    if (!open->founder) {
        wal_tombstone_forget(shard_wal(shard), open->group);
    }
    partition_open_run(shard, shard_op);
}

static void open_replica(struct control *c, const struct metadata_partition *p, const struct metadata_replica *r)
{
    struct reconcile_op *op = op_new(c, p->group);
    if (op == NULL) {
        retry_later(c);
        return;
    }
    op->u.open.group = p->group;
    op->u.open.replica = r->replica;
    op->u.open.founder = founds(p, r);
    op->u.open.preferred = p->preferred_node == c->node;
    op->u.open.op.run = open_run;
    op->u.open.op.done = opened;
    if ((op->u.open.founder && founders_of(p, &op->u.open.founders) != 0) ||
        local_add(c, p->group, r->replica, LOCAL_OPENING) == NULL) {
        retry_later(c);
        op_end(op);
        return;
    }
    shards_submit(c->shards, p->group, &op->u.open.op);
}

static void deleted(struct shard_op *shard_op)
{
    struct reconcile_op *op = container_of(shard_op, struct reconcile_op, u.delete.op);
    struct control *c = op->control;
    local_drop(c, reconcile_find(c, op->group));
    if (metadata_fsm_group_deleted(c->metadata.fsm, op->group)) {
        leaders_forget(c, op->group);
    }
    c->reconcile.dirty = true; /* a successor may follow */
    op_end(op);
}

static void records_deleted(struct wal_write *write)
{
    shard_op_complete(&container_of(write, struct reconcile_op, write)->u.delete.op);
}

/* Damaged records were never opened as a partition: they are deleted in the log itself. */
static void delete_run(struct shard *shard, struct shard_op *shard_op)
{
    struct reconcile_op *op = container_of(shard_op, struct reconcile_op, u.delete.op);
    struct wal_group *g = wal_group_find(shard_wal(shard), op->group);
    struct wal_group_info info = {0};

    if (g != NULL) {
        wal_group_info(g, &info);
    }
    if (group_host_find(shard_host(shard), op->group) != NULL || g == NULL || info.tombstone) {
        partition_delete_run(shard, shard_op);
        return;
    }
    op->write.done = records_deleted;
    wal_group_delete(shard_wal(shard), g, &op->write);
}

static void delete_replica(struct control *c, struct local *l)
{
    struct reconcile_op *op = op_new(c, l->group);
    if (op == NULL) {
        retry_later(c);
        return;
    }
    l->state = LOCAL_DELETING;
    op->u.delete.group = l->group;
    op->u.delete.op.run = delete_run;
    op->u.delete.op.done = deleted;
    shards_submit(c->shards, l->group, &op->u.delete.op);
}

static void configured(struct shard_op *shard_op)
{
    op_end(container_of(shard_op, struct reconcile_op, u.configure.op));
}

static void configure_replica(struct control *c, struct local *l, uint32_t message_max_bytes)
{
    struct reconcile_op *op = op_new(c, l->group);
    if (op == NULL) {
        retry_later(c);
        return;
    }
    l->message_max_bytes = message_max_bytes;
    op->u.configure.group = l->group;
    op->u.configure.message_max_bytes = message_max_bytes;
    op->u.configure.op.run = partition_configure_run;
    op->u.configure.op.done = configured;
    shards_submit(c->shards, l->group, &op->u.configure.op);
}

/* ---- the pass ------------------------------------------------------------------------------------------------ */

static bool full(const struct control *c)
{
    return c->reconcile.under_way >= CONTROL_RECONCILE_BATCH;
}

const struct metadata_replica *reconcile_own_replica(const struct control *c, const struct metadata_partition *p)
{
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        const struct metadata_replica *r = &p->replicas[i];
        if (r->node == c->node && uuid_equal(&r->disk_id, &c->id.disk_id)) {
            return r;
        }
    }
    return NULL;
}

static void match_partition(struct control *c, const struct metadata_partition *p, uint32_t message_max_bytes)
{
    struct local *l = reconcile_find(c, p->group);
    const struct metadata_replica *mine = reconcile_own_replica(c, p);

    if (mine != NULL && l == NULL) {
        open_replica(c, p, mine);
    } else if (l != NULL && (l->state == LOCAL_OPEN || l->state == LOCAL_FAILED) &&
               (mine == NULL || mine->replica != l->replica)) {
        delete_replica(c, l); /* it was replaced, here or elsewhere */
    } else if (l != NULL && l->state == LOCAL_OPEN && l->message_max_bytes != message_max_bytes) {
        configure_replica(c, l, message_max_bytes);
    }
}

/* False: enough is under way. */
static bool match_topic(struct control *c, const struct metadata_topic *t, uint32_t message_max_bytes)
{
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        if (full(c)) {
            return false;
        }
        match_partition(c, &t->partitions[i], message_max_bytes);
    }
    return true;
}

static void pass(struct control *c)
{
    const struct metadata_topic *coordinators = metadata_fsm_coordinators(c->metadata.fsm);
    struct local *l;
    struct local *next;

    c->reconcile.dirty = false;
    HASH_ITER (hh, c->reconcile.table, l, next) {
        if (full(c)) {
            goto more;
        }
        if ((l->state == LOCAL_OPEN || l->state == LOCAL_FAILED) &&
            metadata_fsm_group_deleted(c->metadata.fsm, l->group)) {
            delete_replica(c, l);
        }
    }
    list_for_each (pos, metadata_fsm_topics(c->metadata.fsm)) {
        const struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
        uint32_t message_max_bytes = (uint32_t)strtoul(metadata_topic_config(t, "max.message.bytes"), NULL, 10);
        if (!match_topic(c, t, message_max_bytes)) {
            goto more;
        }
    }
    if (coordinators != NULL && !match_topic(c, coordinators, 0)) {
        goto more;
    }
    return;
more:
    c->reconcile.dirty = true;
}

void reconcile_turn(struct control *c)
{
    if (c->reconcile.dirty && c->reconcile.scanned && c->metadata.confirmed && !full(c)) {
        pass(c);
    }
}

void reconcile_tick(struct control *c, uint64_t now_ms)
{
    if (c->reconcile.retry_ms != 0 && now_ms >= c->reconcile.retry_ms) {
        c->reconcile.retry_ms = 0;
        c->reconcile.dirty = true;
        control_wake(c);
    }
}

void reconcile_failed(struct control *c, uint64_t group, uint64_t replica, int err)
{
    struct local *l = reconcile_find(c, group);
    if (l != NULL && l->replica == replica) {
        l->state = LOCAL_FAILED;
        l->corrupt = err == ERR_CORRUPT;
    }
    log_event(c->env->logger, LOG_ERROR, "replica_stopped", "group=%llu replica=%llu err=%s", (unsigned long long)group,
              (unsigned long long)replica, err_name(err));
}

void reconcile_free(struct control *c)
{
    struct local *l;
    struct local *next;
    struct list *pos;

    HASH_ITER (hh, c->reconcile.table, l, next) {
        local_drop(c, l);
    }
    while ((pos = list_pop_front(&c->reconcile.operations)) != NULL) {
        free(list_entry(pos, struct reconcile_op, link));
    }
}
