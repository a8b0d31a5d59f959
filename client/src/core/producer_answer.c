/* What answers mean for the batches they are about, and what happens to batches whose time is up. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/producer_build.h"
#include "proto/native/native.pb-c.h"

void producer_rewind(struct producer_partition *pp)
{
    list_for_each (pos, &pp->queue) {
        struct batch *b = list_entry(pos, struct batch, link);
        if (b->state == BATCH_SENT) {
            b->state = BATCH_QUEUED;
            b->ambiguous = true;
        }
    }
    pp->on_wire = 0;
}

void producer_reset(struct producer *p, struct producer_partition *pp)
{
    assert(pp->on_wire == 0);
    pp->stale = true;
    pp->reset_wanted = false;
    pp->retrying = false;
    if (pp->producer_id == p->producer_id && pp->producer_epoch == p->producer_epoch) {
        p->next_epoch_wanted = true;
    }
    list_for_each (pos, &pp->queue) {
        struct batch *b = list_entry(pos, struct batch, link);
        if (b->state == BATCH_DONE) {
            continue;
        }
        if (b->ambiguous) {
            producer_mark(b, ERR_UNKNOWN_OUTCOME, -1);
        } else {
            b->stamped = false;
        }
    }
    producer_trim(p, pp);
}

/* Whether a node that answers this may nevertheless write the batch, or have written it. */
static bool error_is_ambiguous(int err)
{
    switch (err) {
    case ERR_UNKNOWN_OUTCOME:
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_CANCELLED:
    case ERR_SHUTDOWN:
    case ERR_IO:
        return true;
    default:
        return false;
    }
}

/* All of the partition goes again, after a pause unless we were told where to. */
static void partition_retry(struct producer *p, struct producer_partition *pp, bool at_once)
{
    struct core *core = p->core;

    if (!pp->retrying) {
        pp->retry_ns = core->now_ns;
        if (!at_once || pp->attempts > 0) {
            pp->retry_ns += core_backoff_ns(core, pp->attempts, PRODUCER_RETRY_MIN_MS, PRODUCER_RETRY_MAX_MS);
        }
        pp->attempts++;
    }
    pp->retrying = true;
    core_wake_at(core, pp->retry_ns);
}

/* The node looked at the batch and will not have it. */
static void batch_refused(struct producer *p, struct batch *b, int err)
{
    struct producer_partition *pp = b->partition;
    int32_t next = (int32_t)(((uint32_t)b->sequence + (uint32_t)b->builder.count) & INT32_MAX);

    if (!b->ambiguous && next == pp->sequence_next && pp->producer_id == b->producer_id &&
        pp->producer_epoch == b->producer_epoch && !pp->stale) {
        pp->sequence_next = b->sequence; /* nobody ever saw a number behind it */
    } else {
        pp->reset_wanted = true;
    }
    producer_end(p, b, b->ambiguous ? ERR_UNKNOWN_OUTCOME : err, -1);
}

static void batch_failed(struct producer *p, struct batch *b, int err, bool hinted)
{
    struct producer_partition *pp = b->partition;

    assert(b->state == BATCH_SENT && pp->on_wire > 0);
    b->state = BATCH_QUEUED;
    pp->on_wire--;
    pp->last_error = err;
    switch (err) {
    case ERR_OUT_OF_ORDER_SEQUENCE:
        if (b->sent_first) { /* not for a batch before it: the partition has lost track of us */
            pp->reset_wanted = true;
        }
        partition_retry(p, pp, false);
        return;
    case ERR_PRODUCER_FENCED:
        pp->reset_wanted = true;
        partition_retry(p, pp, false);
        return;
    default:
        break;
    }
    if (error_is_ambiguous(err)) {
        b->ambiguous = true;
    } else if (!err_retriable(err)) {
        batch_refused(p, b, err);
        return;
    }
    partition_retry(p, pp, hinted);
}

struct answer {
    int err;
    int64_t base_offset;
    uint32_t leader;
    const char *leader_address;
    uint64_t leader_epoch;
    const char *text;
};

static void batch_answer(struct producer *p, struct producer_entry *e, const struct request *r, const struct answer *a)
{
    struct batch *b = e->batch;
    struct producer_partition *pp = b->partition;
    struct core *core = p->core;
    bool current = b->state == BATCH_SENT && b->attempt == e->attempt;
    bool hinted = false;
    uint32_t node = r->conn->node != NULL ? r->conn->node->id : 0;

    if (b->told || b->state == BATCH_DONE) {
        return;
    }
    if (a->err == 0 || a->err == ERR_DUPLICATE_SEQUENCE) { /* an acknowledgement counts however late it comes */
        pp->attempts = 0;
        pp->last_error = 0;
        producer_end(p, b, 0, a->err == 0 ? a->base_offset : -1);
        return;
    }
    if (!current) {
        return;
    }
    if (a->err == ERR_NOT_LEADER) {
        meta_not_leader(core, pp->topic->meta, pp->partition, node, a->leader, a->leader_address, a->leader_epoch);
        hinted = a->leader != 0 && a->leader != node;
    } else if (err_retriable(a->err)) {
        meta_refresh(core);
    }
    if (!err_retriable(a->err) && a->text != NULL && a->text[0] != '\0' && b->text == NULL) {
        b->text = strdup(a->text);
    }
    batch_failed(p, b, a->err, hinted);
}

/* One answer for all: the request failed as a whole. */
static void request_failed(struct producer *p, struct request *r, int err)
{
    struct producer_entry *entries = r->extra;
    struct answer a = {.err = err};

    for (uint32_t i = 0; i < r->payload_count; i++) {
        batch_answer(p, &entries[i], r, &a);
    }
}

static const Cairn__Native__ProducePartitionResult *result_for(const Cairn__Native__ProduceResponse *m, size_t at,
                                                               const struct batch *b)
{
    const uint8_t *id = b->partition->topic->meta->id;

    for (size_t i = 0; i < m->n_partitions; i++) {
        const Cairn__Native__ProducePartitionResult *result = m->partitions[(at + i) % m->n_partitions];
        if (result->partition == b->partition->partition && result->topic_id.len == 16 &&
            memcmp(result->topic_id.data, id, 16) == 0) {
            return result;
        }
    }
    return NULL;
}

void producer_answer(struct request *r, int status, const struct frame *frame)
{
    struct producer *p = r->owner;
    struct producer_entry *entries = r->extra;
    Cairn__Native__ProduceResponse *m;

    if (p->closed) {
        return;
    }
    if (frame == NULL) {
        request_failed(p, r, ERR_CLOSED);
        return;
    }
    if (status != 0) {
        request_failed(p, r, status);
        return;
    }
    m = cairn__native__produce_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        request_failed(p, r, ERR_CLOSED);
        conn_drop(r->conn, ERR_MALFORMED);
        return;
    }
    for (uint32_t i = 0; i < r->payload_count; i++) {
        const Cairn__Native__ProducePartitionResult *result = result_for(m, i, entries[i].batch);
        struct answer a = {.err = ERR_UNKNOWN_OUTCOME};

        if (result != NULL) {
            a = (struct answer){.err = (int)result->error,
                                .base_offset = result->base_offset,
                                .leader = result->leader_node,
                                .leader_address = result->leader_address,
                                .leader_epoch = result->leader_epoch,
                                .text = result->error_text};
        }
        batch_answer(p, &entries[i], r, &a);
    }
    cairn__native__produce_response__free_unpacked(m, NULL);
}

/* The oldest batch's time is up. */
static void batch_expired(struct producer *p, struct batch *b)
{
    struct producer_partition *pp = b->partition;

    if (!b->ever_sent) {
        if (b->stamped) {
            pp->reset_wanted = true; /* its number is lost to those behind it */
        }
        producer_end(p, b, ERR_TIMEOUT, -1);
        return;
    }
    b->ambiguous = true; /* whatever refusals we heard: once sent, never "failed" */
    producer_rewind(pp);
    producer_reset(p, pp);
}

void producer_tick(struct producer *p)
{
    uint64_t timeout_ns = p->config.accum.delivery_timeout_ms * NS_PER_MS;

    list_for_each_safe (pos, &p->active) {
        struct producer_partition *pp = list_entry(pos, struct producer_partition, active_link);
        while (!list_empty(&pp->queue)) { /* done ones never stand at the head */
            struct batch *b = list_entry(pp->queue.next, struct batch, link);
            if (p->core->now_ns - b->created_ns < timeout_ns) {
                break;
            }
            batch_expired(p, b);
        }
    }
}
