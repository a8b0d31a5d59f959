#include "client/src/core/producer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/call.h"
#include "client/src/core/producer_build.h"
#include "proto/native/native.pb-c.h"

#define IDENTITY_TIMEOUT_MS 10000 /* then the call is made anew */
#define IDENTITY_RETRY_MS 200

void producer_config_init(struct producer_config *config)
{
    memset(config, 0, sizeof *config);
    config->accum.linger_ms = PRODUCER_LINGER_MS;
    config->accum.batch_size_bytes = PRODUCER_BATCH_SIZE_BYTES;
    config->accum.buffer_max_bytes = PRODUCER_BUFFER_MAX_BYTES;
    config->accum.delivery_timeout_ms = PRODUCER_DELIVERY_TIMEOUT_MS;
    config->accum.in_flight_max = PRODUCER_IN_FLIGHT_MAX;
    config->codec = CODEC_NONE;
}

int producer_new(struct core *core, struct producer_host *host, const struct producer_config *config,
                 struct producer **out)
{
    struct producer *p = calloc(1, sizeof *p);

    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->core = core;
    p->config = *config;
    accum_init(&p->accum, host, core->pool, &config->accum, rng_next(&core->rng));
    list_init(&p->active);
    list_init(&p->room_changed);
    list_init(&p->done);
    list_init(&p->unused);
    codec_scratch_init(&p->scratch, 0);
    p->producer_id = -1;
    p->next_epoch_wanted = true;
    list_push_back(&core->producers, &p->link);
    core_wake_at(core, 0);
    *out = p;
    return 0;
}

static void producer_destroy(struct producer *p)
{
    while (!list_empty(&p->unused)) {
        batch_free(list_entry(list_pop_front(&p->unused), struct batch, link));
    }
    accum_close(&p->accum);
    codec_scratch_close(&p->scratch);
    free(p->builds);
    free(p->picks);
    free(p);
}

void producer_mark(struct batch *b, int status, int64_t base_offset)
{
    assert(b->state != BATCH_DONE);
    if (b->state == BATCH_SENT) {
        b->partition->on_wire--;
    }
    b->state = BATCH_DONE;
    b->status = status;
    b->base_offset = base_offset;
}

void producer_trim(struct producer *p, struct producer_partition *pp)
{
    while (!list_empty(&pp->queue)) {
        struct batch *b = list_entry(pp->queue.next, struct batch, link);
        if (b->state != BATCH_DONE) {
            break;
        }
        list_remove(&b->link);
        list_push_back(&p->done, &b->link);
        pp->queue_count--;
        pp->room_new++;
    }
    list_remove(&pp->room_link);
    list_push_back(&p->room_changed, &pp->room_link);
    if (list_empty(&pp->queue)) {
        list_remove(&pp->active_link);
    }
    core_wake_at(p->core, 0);
}

void producer_end(struct producer *p, struct batch *b, int status, int64_t base_offset)
{
    producer_mark(b, status, base_offset);
    producer_trim(p, b->partition);
}

/* For people: what stood in the way of a batch whose time was up. */
static void producer_explain(struct batch *b)
{
    const struct producer_partition *pp = b->partition;
    char text[ERRMSG_SIZE];

    if (b->text != NULL || (b->status != ERR_UNKNOWN_OUTCOME && b->status != ERR_TIMEOUT)) {
        return;
    }
    snprintf(text, sizeof text, "%s; the last attempt for the partition ended with: %s", err_text(b->status),
             pp->last_error != 0 ? err_text(pp->last_error) : "no answer");
    b->text = strdup(text); /* without memory there is just the code */
}

static void producer_count(struct producer *p, const struct batch *b)
{
    uint64_t records = (uint64_t)b->builder.count;

    if (b->status == 0) {
        p->counts.records_acknowledged += records;
        p->counts.bytes_acknowledged += b->size;
        p->counts.batches_acknowledged++;
    } else if (b->status == ERR_UNKNOWN_OUTCOME) {
        p->counts.records_unknown += records;
    } else {
        p->counts.records_failed += records;
    }
}

/* Tell the owner of all that has ended, then give its memory back. */
static void producer_tell(struct producer *p)
{
    struct producer_host *host = p->accum.host;
    struct list told;

    list_init(&told);
    list_splice_back(&told, &p->done);
    if (list_empty(&told) && list_empty(&p->unused)) {
        return;
    }
    list_for_each (pos, &told) {
        struct batch *b = list_entry(pos, struct batch, link);
        producer_explain(b);
        if (host->delivered != NULL) {
            host->delivered(host, b);
        }
    }
    accum_lock(&p->accum);
    while (!list_empty(&told)) {
        struct batch *b = list_entry(list_pop_front(&told), struct batch, link);
        producer_count(p, b);
        accum_settle(&p->accum, b);
    }
    while (!list_empty(&p->unused)) {
        accum_recycle(&p->accum, list_entry(list_pop_front(&p->unused), struct batch, link));
    }
    if (host->changed != NULL) {
        host->changed(host);
    }
    accum_unlock(&p->accum);
}

/* Follow what the metadata says of the topics that records were sent to. Locked. */
static void producer_topics(struct producer *p)
{
    struct accum *a = &p->accum;
    bool fresh = a->topics_new;
    struct accum_topic *t;
    struct accum_topic *next;

    if (!fresh && p->meta_generation == p->core->meta.generation) {
        return;
    }
    a->topics_new = false;
    p->meta_generation = p->core->meta.generation;
    HASH_ITER (hh, a->topics, t, next) {
        if (!t->registered) {
            t->meta = meta_topic_acquire(p->core, t->name);
            t->registered = t->meta != NULL;
            a->topics_new = a->topics_new || !t->registered; /* out of memory: again */
        }
        if (t->registered && t->meta_generation != t->meta->generation) {
            t->meta_generation = t->meta->generation;
            if (accum_topic_update(a, t, t->meta->partition_count, t->meta->error) != 0) {
                a->topics_new = true;
            }
        } else if (t->registered && t->meta->partition_count > t->partition_count &&
                   accum_topic_update(a, t, t->meta->partition_count, 0) != 0) {
            a->topics_new = true;
        }
        if (t->registered && t->partition_count == 0 && t->meta->refs > 0) {
            meta_refresh(p->core); /* not there yet: somebody waits for it */
        }
    }
}

static void producer_intake(struct producer *p)
{
    struct accum *a = &p->accum;
    struct list fresh;
    uint64_t wake_ns;

    list_init(&fresh);
    accum_lock(a);
    while (!list_empty(&p->room_changed)) {
        struct producer_partition *pp =
            list_entry(list_pop_front(&p->room_changed), struct producer_partition, room_link);
        accum_give_room(a, pp, pp->room_new);
        pp->room_new = 0;
    }
    producer_topics(p);
    if (p->core->now_ns >= p->tick_ns) {
        accum_expire(a, p->core->now_ns);
        accum_unstick(a);
    }
    wake_ns = accum_drain(a, p->core->now_ns, &fresh);
    if (!list_empty(&a->expired)) {
        list_splice_back(&p->done, &a->expired);
        core_wake_at(p->core, 0);
    }
    if (!list_empty(&a->all)) {
        core_wake_at(p->core, p->core->now_ns + CLIENT_TICK_MS * NS_PER_MS);
    }
    accum_unlock(a);
    core_wake_at(p->core, wake_ns);
    while (!list_empty(&fresh)) {
        struct batch *b = list_entry(list_pop_front(&fresh), struct batch, link);
        struct producer_partition *pp = b->partition;
        if (list_empty(&pp->queue)) {
            list_push_back(&p->active, &pp->active_link);
        }
        list_push_back(&pp->queue, &b->link);
        pp->queue_count++;
    }
}

void producer_turn(struct producer *p)
{
    bool tick = p->core->now_ns >= p->tick_ns;

    if (tick) {
        producer_tick(p);
    }
    producer_tell(p);
    producer_intake(p);
    if (tick) {
        p->tick_ns = p->core->now_ns + CLIENT_TICK_MS * NS_PER_MS;
    }
    producer_identity(p);
    producer_send(p);
}

static void identity_done(struct core_call *call, int status, const struct frame *frame)
{
    struct producer *p = call->owner;
    Cairn__Native__InitProducerIdResponse *m = NULL;

    p->identity_call = NULL;
    p->identity_retry_ns = p->core->now_ns + IDENTITY_RETRY_MS * NS_PER_MS;
    core_wake_at(p->core, 0);
    if (status == 0) {
        m = cairn__native__init_producer_id_response__unpack(NULL, frame->header.message_length, frame->message);
    }
    if (m == NULL) {
        if (status != 0 && !err_retriable(status)) {
            p->producer_id = -1; /* the node does not take this id any more */
        }
        return;
    }
    if (m->producer_id < 0 || m->producer_epoch < 0 || m->producer_epoch > INT16_MAX ||
        (m->producer_id == p->producer_id && m->producer_epoch <= p->producer_epoch)) {
        p->producer_id = -1; /* no epoch above ours is to be had */
    } else {
        p->producer_id = m->producer_id;
        p->producer_epoch = (int16_t)m->producer_epoch;
        p->next_epoch_wanted = false;
    }
    cairn__native__init_producer_id_response__free_unpacked(m, NULL);
}

void producer_identity(struct producer *p)
{
    Cairn__Native__InitProducerIdRequest m = CAIRN__NATIVE__INIT_PRODUCER_ID_REQUEST__INIT;
    uint8_t message[32];
    size_t size;

    if (!p->next_epoch_wanted || p->identity_call != NULL || p->closed) {
        return;
    }
    if (p->core->now_ns < p->identity_retry_ns) {
        core_wake_at(p->core, p->identity_retry_ns);
        return;
    }
    m.producer_id = p->producer_id;
    m.producer_epoch = p->producer_id >= 0 ? p->producer_epoch : -1;
    size = cairn__native__init_producer_id_request__get_packed_size(&m);
    assert(size <= sizeof message);
    cairn__native__init_producer_id_request__pack(&m, message);
    p->identity_call =
        call_start(p->core, CALL_INIT_PRODUCER_ID, message, size, IDENTITY_TIMEOUT_MS * NS_PER_MS, identity_done, p);
    if (p->identity_call == NULL) {
        p->identity_retry_ns = p->core->now_ns + IDENTITY_RETRY_MS * NS_PER_MS;
        core_wake_at(p->core, p->identity_retry_ns);
    }
}

void producer_close(struct producer *p)
{
    struct accum *a = &p->accum;
    struct accum_topic *t;
    struct accum_topic *next;

    p->closed = true;
    if (p->identity_call != NULL) {
        call_cancel(p->identity_call);
        p->identity_call = NULL;
    }
    list_for_each_safe (pos, &p->active) {
        struct producer_partition *pp = list_entry(pos, struct producer_partition, active_link);
        list_for_each (bpos, &pp->queue) {
            struct batch *b = list_entry(bpos, struct batch, link);
            if (b->state != BATCH_DONE) {
                producer_mark(b, b->ever_sent ? ERR_UNKNOWN_OUTCOME : ERR_CANCELLED, -1);
            }
        }
        producer_trim(p, pp);
    }
    accum_lock(a);
    accum_abort(a, ERR_CANCELLED);
    list_splice_back(&p->done, &a->expired);
    accum_unlock(a);
    producer_tell(p);
    HASH_ITER (hh, a->topics, t, next) {
        if (t->registered) {
            meta_topic_release(p->core, t->meta);
        }
    }
    list_remove(&p->link);
    if (p->requests == 0) {
        producer_destroy(p);
    }
}

/* In producer_build.h: the last thing that happens to a request. */
void producer_release(struct request *r)
{
    struct producer_entry *entries = r->extra;
    struct producer *p = r->owner;

    for (uint32_t i = 0; i < r->payload_count; i++) {
        struct batch *b = entries[i].batch;
        if (--b->requests > 0 || !b->told) {
            continue;
        }
        if (p->closed) {
            batch_free(b);
        } else {
            list_push_back(&p->unused, &b->link);
            core_wake_at(p->core, 0);
        }
    }
    p->requests--;
    if (p->closed && p->requests == 0) {
        producer_destroy(p);
    }
}
