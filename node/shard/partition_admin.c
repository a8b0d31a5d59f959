/* What is rarely asked of a partition: where leader epochs end, and to forget its beginning. Both of the leader only,
 * after a barrier: a new leader that tells less than the old one makes readers go back. */
#include <stdlib.h>

#include "node/shard/shard_internal.h"

/* ---- where an epoch ends
 * ------------------------------------------------------------------------------------------------ */

static void epoch_finish(struct partition_epoch_end *e, int error)
{
    struct partition *p = partition_find(e->op.shard, e->group);
    e->error = error;
    if (p != NULL) {
        partition_fill_where(p, &e->where);
    }
    shard_op_complete(&e->op);
}

static void epoch_confirmed(struct group_barrier *barrier, int status)
{
    struct partition_epoch_end *e = container_of(barrier, struct partition_epoch_end, barrier);
    struct partition *p = partition_find(e->op.shard, e->group);
    uint64_t epoch;

    if (p == NULL || status != 0) {
        epoch_finish(e, p == NULL ? ERR_UNKNOWN_TOPIC : ERR_NOT_LEADER);
        return;
    }
    if (partition_fsm_epoch_end(p->fsm, e->asked, &epoch, &e->end_offset) == 0) {
        e->epoch = (int64_t)epoch;
    }
    epoch_finish(e, 0);
}

void partition_epoch_end_run(struct shard *shard, struct shard_op *op)
{
    struct partition_epoch_end *e = container_of(op, struct partition_epoch_end, op);
    struct partition *p = partition_find(shard, e->group);
    int rv;

    e->epoch = -1;
    e->end_offset = -1;
    rv = p == NULL ? ERR_UNKNOWN_TOPIC : partition_check_leading(p);
    if (rv == 0) {
        e->barrier.done = epoch_confirmed;
        rv = group_barrier(p->group, &e->barrier);
    }
    if (rv != 0) {
        epoch_finish(e, rv);
    }
}

/* ---- trim
 * ------------------------------------------------------------------------------------------------------------------ */

static void trim_finish(struct partition_trim *trim, int error)
{
    struct partition *p = partition_find(trim->op.shard, trim->group);
    trim->error = error;
    if (p != NULL) {
        partition_fill_where(p, &trim->where);
    }
    shard_op_complete(&trim->op);
}

static void trim_proposed(struct group_proposal *proposal, int status)
{
    trim_finish(container_of(proposal, struct partition_trim, proposal), status);
}

static void trim_confirmed(struct group_barrier *barrier, int status)
{
    struct partition_trim *trim = container_of(barrier, struct partition_trim, barrier);
    struct partition *p = partition_find(trim->op.shard, trim->group);
    struct entry *entry;
    int rv;

    if (p == NULL || status != 0) {
        trim_finish(trim, p == NULL ? ERR_UNKNOWN_TOPIC : ERR_NOT_LEADER);
        return;
    }
    if (trim->offset < 0) {
        trim->offset = partition_fsm_high_watermark(p->fsm);
    }
    if (trim->offset > partition_fsm_high_watermark(p->fsm) || trim->offset <= partition_fsm_log_start(p->fsm)) {
        trim_finish(trim, trim->offset > partition_fsm_high_watermark(p->fsm) ? ERR_OFFSET_OUT_OF_RANGE : 0);
        return;
    }
    entry = partition_fsm_trim_entry(trim->offset);
    if (entry == NULL) {
        trim_finish(trim, ERR_NOMEM);
        return;
    }
    trim->proposal.entry = entry;
    trim->proposal.done = trim_proposed;
    rv = group_propose(p->group, &trim->proposal);
    if (rv != 0) {
        entry_release(entry);
        trim_finish(trim, rv);
    }
}

void partition_trim_run(struct shard *shard, struct shard_op *op)
{
    struct partition_trim *trim = container_of(op, struct partition_trim, op);
    struct partition *p = partition_find(shard, trim->group);
    int rv = p == NULL ? ERR_UNKNOWN_TOPIC : partition_check_leading(p);

    if (rv == 0) {
        trim->barrier.done = trim_confirmed;
        rv = group_barrier(p->group, &trim->barrier);
    }
    if (rv != 0) {
        trim_finish(trim, rv);
    }
}

/* ---- describe
 * -------------------------------------------------------------------------------------------------------------- */

void partition_describe_run(struct shard *shard, struct shard_op *op)
{
    struct partition_describe *d = container_of(op, struct partition_describe, op);
    struct partition *p = partition_find(shard, d->group);

    d->error = p == NULL ? ERR_UNKNOWN_TOPIC : d->leader_only ? partition_check_leading(p) : 0;
    if (p != NULL) {
        partition_fill_where(p, &d->where);
        d->bytes = partition_fsm_bytes(p->fsm);
    }
    if (d->error == 0 && d->with_producers && partition_fsm_producers(p->fsm) > 0) {
        uint32_t n = partition_fsm_producers(p->fsm);
        d->producers = calloc(n, sizeof *d->producers);
        d->n_producers = d->producers == NULL ? 0 : partition_fsm_list_producers(p->fsm, d->producers, n);
    }
    shard_op_complete(op);
}
