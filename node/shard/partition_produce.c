/* Produce: judge the batch against applied and in-flight state, propose it, answer when it is applied. */
#include <assert.h>
#include <stdio.h>

#include "node/shard/shard_internal.h"
#include "proto/base/mutant.h"

static void finish(struct partition_produce *produce, int error)
{
    struct partition *p = partition_find(produce->op.shard, produce->group);
    produce->error = error;
    partition_fill_end(p, &produce->where, error, produce->term);
    buf_release(produce->buf);
    produce->buf = NULL;
    shard_op_complete(&produce->op);
}

static void judged(struct partition *p, struct partition_produce *produce, bool confirmed);

/* The refusal was linearizable if this replica still led when the barrier was applied: judge once more. */
static void barrier_done(struct group_barrier *barrier, int status)
{
    struct partition_produce *produce = container_of(barrier, struct partition_produce, barrier);
    struct partition *p = partition_find(produce->op.shard, produce->group);
    if (status != 0 || p == NULL) {
        finish(produce, status == ERR_UNKNOWN_OUTCOME || status == 0 ? ERR_NOT_LEADER : status);
        return;
    }
    judged(p, produce, true);
}

static void proposal_done(struct group_proposal *proposal, int status)
{
    struct partition_produce *produce = container_of(proposal, struct partition_produce, proposal);
    produce->op.shard->stats.produced_batches += status == 0;
    produce->op.shard->stats.produced_bytes += status == 0 ? produce->size : 0;
    finish(produce, status);
}

static int propose(struct partition *p, struct partition_produce *produce, const struct record_batch_header *batch)
{
    struct entry *entry;
    int rv = wal_accepts(p->shard->wal); /* only here: the retry of what is committed is told so, disk full or not */

    if (rv != 0) {
        return rv;
    }
    record_batch_set_base_offset(produce->data, produce->base_offset);
    record_batch_set_leader_epoch(produce->data, (int32_t)p->term);
    entry = entry_new(ENTRY_BATCH, produce->buf, produce->data, produce->size);
    if (entry == NULL) {
        return ERR_NOMEM;
    }
    entry->base_offset = produce->base_offset;
    produce->proposal.entry = entry;
    produce->proposal.done = proposal_done;
    rv = group_propose(p->group, &produce->proposal);
    if (rv != 0) {
        entry_release(entry);
        return rv;
    }
    rv = partition_fsm_inflight(p->fsm, batch, produce->base_offset);
    if (rv != 0) {
        /* Proposed, but not accounted for: offsets would be given twice. */
        group_fail(p->group, rv, "out of memory for in-flight producer state");
    }
    return 0;
}

static void judged(struct partition *p, struct partition_produce *produce, bool confirmed)
{
    struct record_batch_header batch;
    enum partition_verdict verdict;
    int rv = partition_check_leading(p);

    if (rv == 0) {
        rv = record_batch_peek(produce->data, produce->size, &batch);
    }
    if (rv != 0) {
        finish(produce, rv);
        return;
    }
    produce->term = p->term;
    verdict = partition_fsm_judge(p->fsm, &batch, &produce->base_offset);
    switch (verdict) {
    case PARTITION_APPEND:
        rv = propose(p, produce, &batch);
        if (rv != 0) {
            finish(produce, rv);
        }
        return;
    case PARTITION_DUPLICATE:
        p->shard->stats.duplicates++;
        finish(produce, 0);
        return;
    case PARTITION_DUPLICATE_INFLIGHT:
        p->shard->stats.duplicates++;
        if (MUTANT(ACK_DUPLICATE_IN_FLIGHT)) {
            finish(produce, 0);
            return;
        }
        list_push_back(&p->duplicates, &produce->link);
        return;
    case PARTITION_OUT_OF_ORDER:
    case PARTITION_FENCED:
    case PARTITION_DUPLICATE_OLD:
    default:
        break;
    }
    if (!confirmed) {
        produce->barrier.done = barrier_done;
        rv = group_barrier(p->group, &produce->barrier);
        if (rv != 0) {
            finish(produce, rv);
        }
        return;
    }
    produce->base_offset = -1;
    finish(produce, verdict == PARTITION_OUT_OF_ORDER ? ERR_OUT_OF_ORDER_SEQUENCE
                    : verdict == PARTITION_FENCED     ? ERR_PRODUCER_FENCED
                                                      : ERR_DUPLICATE_SEQUENCE);
}

void partition_produce_run(struct shard *shard, struct shard_op *op)
{
    struct partition_produce *produce = container_of(op, struct partition_produce, op);
    struct partition *p = partition_find(shard, produce->group);
    struct record_batch_limits limits;
    struct record_batch_header batch;
    int rv;

    produce->text[0] = '\0';
    produce->base_offset = -1;
    if (p == NULL) {
        finish(produce, ERR_UNKNOWN_TOPIC);
        return;
    }
    rv = partition_check_leading(p);
    if (rv == 0 && p->message_max_bytes == 0 && produce->size > PARTITION_MESSAGE_MAX_BYTES_DEFAULT) {
        rv = ERR_LEADER_NOT_READY; /* after a start the topic's limit may not be known here yet: never refuse for good */
    }
    if (rv == 0) {
        limits.size_max = p->message_max_bytes != 0 ? p->message_max_bytes : PARTITION_MESSAGE_MAX_BYTES_DEFAULT;
        rv = record_batch_validate(produce->data, produce->size, &limits, &batch, produce->text);
    }
    if (rv != 0) {
        finish(produce, rv);
        return;
    }
    judged(p, produce, false);
}

/* Retries whose original was in flight: answered when it is committed, or unknown when the leadership ended first. */
void partition_wake_duplicates(struct partition *p)
{
    list_for_each_safe(pos, &p->duplicates)
    {
        struct partition_produce *produce = list_entry(pos, struct partition_produce, link);
        if (partition_check_leading(p) != 0 || p->term != produce->term) {
            list_remove(pos);
            finish(produce, ERR_UNKNOWN_OUTCOME);
        } else if (partition_fsm_high_watermark(p->fsm) > produce->base_offset) {
            list_remove(pos);
            finish(produce, 0);
        }
    }
}
