/* Life of a partition's replica, and what its group tells it. Requests are in partition_produce.c and
 * partition_fetch.c. */
#include "node/shard/partition.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/metadata/metadata_fsm.h"
#include "node/shard/shard_internal.h"

struct partition *partition_find(struct shard *shard, uint64_t group)
{
    struct partition *p;
    HASH_FIND(hh, shard->partitions, &group, sizeof group, p);
    return p;
}

struct group *partition_group(struct partition *p)
{
    return p->group;
}

const struct partition_fsm *partition_state(const struct partition *p)
{
    return p->fsm;
}

void partition_fill_where(const struct partition *p, struct partition_where *where)
{
    struct group_info info;
    group_info(p->group, &info);
    where->leader_epoch = info.term;
    where->leader_node = info.leader_node;
    where->log_start = partition_fsm_log_start(p->fsm);
    where->high_watermark = partition_fsm_high_watermark(p->fsm);
}

void partition_fill_end(const struct partition *p, struct partition_where *where, int error, uint64_t term)
{
    if (p != NULL) {
        partition_fill_where(p, where);
    }
    if (error == 0) {
        where->leader_epoch = term;
    }
}

int partition_check_leading(const struct partition *p)
{
    if (p->failed || !p->leading) {
        return ERR_NOT_LEADER;
    }
    return p->ready ? 0 : ERR_LEADER_NOT_READY;
}

void partition_mark_dirty(struct partition *p)
{
    if (list_empty(&p->dirty)) {
        list_push_back(&p->shard->dirty, &p->dirty);
        env_wake(p->shard->env);
    }
}

void partition_wake_dirty(struct shard *shard)
{
    struct list dirty;
    struct list *pos;
    list_init(&dirty);
    list_splice_back(&dirty, &shard->dirty);
    while ((pos = list_pop_front(&dirty)) != NULL) {
        struct partition *p = list_entry(pos, struct partition, dirty);
        partition_wake_duplicates(p);
        partition_wake_fetches(p);
    }
}

/* ---- what the group tells --------------------------------------------------------------------------------------------- */

static void on_apply(void *data, const struct entry *entry)
{
    struct partition *p = data;
    char text[ERRMSG_SIZE];
    int rv = partition_fsm_apply(p->fsm, entry);
    if (rv != 0) {
        snprintf(text, sizeof text, "apply entry %llu: %s", (unsigned long long)entry->index, err_text(rv));
        group_fail(p->group, rv, text);
        return;
    }
    if (!list_empty(&p->parked) || !list_empty(&p->duplicates)) {
        partition_mark_dirty(p);
    }
}

static void on_leadership(void *data, bool leading, bool ready, uint64_t term)
{
    struct partition *p = data;
    /* What was in flight belongs to the leadership that ended: whether it is committed shows in what is applied. */
    if (!leading || !p->leading || p->term != term) {
        partition_fsm_drop_inflight(p->fsm);
    }
    p->leading = leading;
    p->ready = ready;
    p->term = term;
    partition_mark_dirty(p);
}

struct failed_note {
    struct env_message message;
    struct shards *set;
    uint64_t group;
    uint64_t replica;
    int err;
};

static void deliver_failed(struct env_message *message)
{
    struct failed_note *note = container_of(message, struct failed_note, message);
    note->set->ops.failed(note->set->data, note->group, note->replica, note->err);
    free(note);
}

void shard_tell_failed(struct shard *shard, uint64_t group, uint64_t replica, int err)
{
    struct failed_note *note = malloc(sizeof *note);
    if (note != NULL) {
        note->message.run = deliver_failed;
        note->set = shard->set;
        note->group = group;
        note->replica = replica;
        note->err = err;
        env_post(shard->set->env, &note->message);
    }
}

static void on_failed(void *data, int err, const char *text)
{
    struct partition *p = data;
    p->failed = true;
    p->leading = false;
    p->ready = false;
    partition_fsm_drop_inflight(p->fsm);
    partition_mark_dirty(p);
    shard_tell_failed(p->shard, p->id, p->replica, err);
}

static const struct group_fsm partition_group_fsm = {
    .apply = on_apply,
    .leadership = on_leadership,
    .failed = on_failed,
};

/* ---- life --------------------------------------------------------------------------------------------------------------- */

static struct partition *partition_new(struct shard *shard, uint64_t group, uint64_t replica)
{
    struct partition *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->fsm = partition_fsm_new();
    if (p->fsm == NULL) {
        goto err_after_alloc;
    }
    p->shard = shard;
    p->id = group;
    p->replica = replica;
    list_init(&p->duplicates);
    list_init(&p->parked);
    list_init(&p->dirty);
    HASH_ADD(hh, shard->partitions, id, sizeof p->id, p);
    if (p->hh.tbl == NULL) {
        goto err_after_fsm;
    }
    return p;
err_after_fsm:
    partition_fsm_free(p->fsm);
err_after_alloc:
    free(p);
    return NULL;
}

static void partition_free(struct partition *p)
{
    HASH_DEL(p->shard->partitions, p);
    list_remove(&p->dirty);
    partition_fsm_free(p->fsm);
    free(p);
}

void partition_open_run(struct shard *shard, struct shard_op *op)
{
    struct partition_open *open = container_of(op, struct partition_open, op);
    struct group_params params = {
        .group = open->group,
        .replica = open->replica,
        .fsm = &partition_group_fsm,
        .founders = open->founder ? &open->founders : NULL,
        .preferred = open->preferred,
    };
    struct partition *p = partition_find(shard, open->group);

    if (metadata_is_coordinator(open->group)) {
        open->error = group_runtime_open(shard, open);
        shard_op_complete(op);
        return;
    }
    if (p != NULL) {
        open->error = ERR_EXISTS;
        shard_op_complete(op);
        return;
    }
    p = partition_new(shard, open->group, open->replica);
    if (p == NULL) {
        open->error = ERR_NOMEM;
        shard_op_complete(op);
        return;
    }
    params.data = p;
    open->error = open->founder ? group_found(shard->host, &params, &p->group) : group_join(shard->host, &params, &p->group);
    if (open->error != 0) {
        partition_free(p);
    }
    shard_op_complete(op);
}

struct resume_scan {
    struct shard *shard;
    int err;
};

static void resume_one(void *data, struct wal_group *g)
{
    struct resume_scan *scan = data;
    struct wal_group_info info;
    struct group_params params = {.fsm = &partition_group_fsm};
    struct partition *p;

    wal_group_info(g, &info);
    if (info.group == METADATA_GROUP || info.tombstone || scan->err != 0) {
        return;
    }
    if (info.damaged) {
        log_event(scan->shard->env->logger, LOG_ERROR, "replica_damaged",
                  "group=%llu replica=%llu text=\"its records are corrupt: it will not vote or lead again\"",
                  (unsigned long long)info.group, (unsigned long long)info.replica);
        return;
    }
    if (metadata_is_coordinator(info.group)) {
        scan->err = group_runtime_resume(scan->shard, info.group, info.replica);
        return;
    }
    p = partition_new(scan->shard, info.group, info.replica);
    if (p == NULL) {
        scan->err = ERR_NOMEM;
        return;
    }
    params.group = info.group;
    params.replica = info.replica;
    params.data = p;
    scan->err = group_resume(scan->shard->host, &params, &p->group);
    if (scan->err != 0) {
        partition_free(p);
    }
}

int partition_resume_all(struct shard *shard)
{
    struct resume_scan scan = {shard, 0};
    wal_group_each(shard->wal, resume_one, &scan);
    return scan.err;
}

static void end_waiters(struct partition *p, int error)
{
    struct list *pos;
    while ((pos = list_pop_front(&p->duplicates)) != NULL) {
        struct partition_produce *produce = list_entry(pos, struct partition_produce, link);
        produce->error = ERR_UNKNOWN_OUTCOME;
        buf_release(produce->buf);
        produce->buf = NULL;
        shard_op_complete(&produce->op);
    }
    while ((pos = list_pop_front(&p->parked)) != NULL) {
        struct partition_fetch *fetch = list_entry(pos, struct partition_fetch, link);
        fetch->parked = false;
        fetch->error = error;
        shard_op_complete(&fetch->op);
    }
}

void partition_close_all(struct shard *shard, bool silent)
{
    struct partition *p;
    struct partition *next;
    if (!silent) {
        partition_end_readers(shard);
        group_runtime_close_all(shard);
    }
    HASH_ITER(hh, shard->partitions, p, next)
    {
        if (!silent) {
            p->leading = false;
            p->ready = false;
            end_waiters(p, ERR_SHUTDOWN);
            group_close(p->group);
        }
        partition_free(p);
    }
}

static void deleted(void *data)
{
    struct partition_delete *del = data;
    shard_op_complete(&del->op);
}

void partition_delete_run(struct shard *shard, struct shard_op *op)
{
    struct partition_delete *del = container_of(op, struct partition_delete, op);
    struct partition *p = partition_find(shard, del->group);
    struct group *g;
    del->error = 0;
    if (group_runtime_delete(shard, del->group, deleted, del)) {
        return;
    }
    if (p == NULL) {
        del->error = ERR_NOT_FOUND;
        shard_op_complete(op);
        return;
    }
    p->leading = false;
    p->ready = false;
    end_waiters(p, ERR_UNKNOWN_TOPIC);
    g = p->group;
    group_delete(g, deleted, del); /* ends the proposals: their ops find no partition any more */
    partition_free(p);
}

void partition_configure_run(struct shard *shard, struct shard_op *op)
{
    struct partition_configure *configure = container_of(op, struct partition_configure, op);
    struct partition *p = partition_find(shard, configure->group);
    if (p != NULL) {
        p->message_max_bytes = configure->message_max_bytes;
    }
    shard_op_complete(op);
}

void partition_transfer_run(struct shard *shard, struct shard_op *op)
{
    struct partition_transfer *transfer = container_of(op, struct partition_transfer, op);
    struct group *g = group_host_find(shard->host, transfer->group);
    transfer->error = g == NULL ? ERR_NOT_FOUND : group_transfer(g, transfer->node);
    shard_op_complete(op);
}
