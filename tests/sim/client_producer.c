/* Producers: batches by partition, up to five in flight, always sent again in the same order until they are acknowledged
 * (idempotent), or one at a time and at least once (plain).
 *
 * After any failure on a partition its producer waits until nothing of it is under way, then sends everything that is
 * not acknowledged again, in order. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/record_builder.h"
#include "tests/sim/client.h"

#define INFLIGHT_MAX 5 /* KIP-98 */
#define TICK_MS 5
#define BACKOFF_MS 50
#define BATCH_BYTES_MAX (256u << 10)

struct producer;
struct lane;

struct batch {
    struct list link; /* of lane.batches, in order */
    struct lane *lane;
    struct oracle_stream *stream;
    uint32_t seq;
    uint32_t count;
    uint64_t made_ns;
    unsigned times; /* sent */
    unsigned node;
    bool under_way;
    bool acked;
    bool abandoned; /* the lane has moved on; freed when its request ends */
    size_t size;
    uint8_t *bytes;
};

/* One partition, as this producer has to do with it. */
struct lane {
    struct producer *producer;
    unsigned topic;
    unsigned partition;
    struct uuid topic_id;
    struct uuid dead_id; /* a topic that was given up: a node that is behind may still show it */
    struct oracle_stream *stream; /* NULL: to be begun */
    struct batch *zombie; /* of the epoch before, sent and not answered: it comes once more when the new one is under way */
    struct list batches;
    unsigned n_batches;
    unsigned under_way;
    bool drain;      /* something failed: wait for all, then again from the first */
    uint64_t wait_ns;
    uint64_t next_ns; /* the next batch is made */
    uint64_t fresh_ns; /* world's time at which the newest acknowledged batch was made */
};

struct producer {
    struct env *env;
    struct workload *w;
    struct client_net *net;
    struct client_tick tick;
    bool idempotent;
    int64_t id;
    int32_t epoch;
    bool asking_id;
    bool bump;
    uint64_t ask_ns;
    struct lane lanes[CLIENT_TOPICS_MAX][16];
    struct list abandoned;
    uint8_t *scratch;
    uint8_t *value;
};

static void batch_free(struct batch *b)
{
    list_remove(&b->link);
    free(b->bytes);
    free(b);
}

/* Nothing more will be asked about what is outstanding. */
static void lane_give_up(struct lane *lane)
{
    struct oracle_counts *counts = oracle_counts(lane->producer->w->oracle);
    struct list *pos;

    counts->given_up += lane->stream != NULL && !list_empty(&lane->batches);
    while ((pos = list_pop_front(&lane->batches)) != NULL) {
        struct batch *b = list_entry(pos, struct batch, link);
        b->abandoned = true;
        list_push_back(&lane->producer->abandoned, &b->link);
        if (b->times > 0 && !b->acked && !b->under_way && lane->producer->idempotent && lane->zombie == NULL) {
            lane->zombie = b;
        } else if (!b->under_way) {
            batch_free(b);
        }
    }
    lane->n_batches = 0;
    lane->under_way = 0;
    lane->drain = false;
    lane->stream = NULL;
}

/* ---- making batches -------------------------------------------------------------------------------------------------- */

uint32_t client_batch_build(struct oracle *o, struct oracle_stream *s, uint32_t n, int64_t now_ms,
                            struct record_batch_stamp *stamp, uint8_t *value, uint8_t *scratch, size_t scratch_size,
                            uint8_t **bytes, size_t *size)
{
    struct record_builder builder;
    struct record_batch_stamp plain = RECORD_BATCH_PLAIN;
    uint32_t seq = oracle_sent_next(s);
    uint32_t count = 0;
    int rv;

    record_builder_init(&builder, scratch, scratch_size);
    for (; count < n; count++) {
        uint32_t length = oracle_value_size(o, oracle_stream_id(s), seq + count);
        oracle_value(o, oracle_stream_id(s), seq + count, value);
        if (record_builder_append(&builder, NULL, -1, value, (int32_t)length, NULL, 0, now_ms) != 0) {
            break;
        }
    }
    if (stamp != NULL) {
        stamp->base_sequence = (int32_t)seq;
    }
    rv = record_builder_finish(&builder, stamp != NULL ? stamp : &plain, NULL, bytes, size);
    assert(rv == 0 && count > 0);
    (void)rv;
    oracle_sent(o, s, count);
    return count;
}

static void make_batch(struct lane *lane)
{
    struct producer *p = lane->producer;
    struct batch *b = calloc(1, sizeof *b);
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    uint32_t n = 1 + (uint32_t)client_random(p->net, p->w->records_max);
    uint8_t *out;

    assert(b != NULL);
    b->lane = lane;
    b->stream = lane->stream;
    b->seq = oracle_sent_next(lane->stream);
    b->made_ns = sim_world_now(p->w->world);
    stamp.producer_id = p->id;
    stamp.producer_epoch = (int16_t)p->epoch;
    b->count = client_batch_build(p->w->oracle, lane->stream, n, env_wall_ms(p->env), p->idempotent ? &stamp : NULL, p->value,
                                  p->scratch, BATCH_BYTES_MAX, &out, &b->size);
    b->bytes = malloc(b->size);
    assert(b->bytes != NULL);
    memcpy(b->bytes, out, b->size);
    list_push_back(&lane->batches, &b->link);
    lane->n_batches++;
}

/* ---- answers --------------------------------------------------------------------------------------------------------- */

static bool all_before_acked(const struct batch *b)
{
    list_for_each(pos, &b->lane->batches)
    {
        const struct batch *other = list_entry(pos, struct batch, link);
        if (other == b) {
            return true;
        }
        if (!other->acked) {
            return false;
        }
    }
    return true;
}

static void on_zombie(void *data, int status, const struct frame *frame)
{
    struct batch *b = data;
    Cairn__Native__ProduceResponse *m = NULL;

    if (status == 0 && frame->header.status == 0) {
        m = cairn__native__produce_response__unpack(NULL, frame->header.message_length, frame->message);
    }
    if (m != NULL && m->n_partitions == 1 && m->partitions[0]->error == 0) {
        oracle_violation(b->lane->producer->w->oracle, "stream %u record %u of an older epoch was taken by node %u after a newer one's",
                         oracle_stream_id(b->stream), b->seq, b->node);
    }
    if (m != NULL) {
        cairn__native__produce_response__free_unpacked(m, NULL);
    }
    batch_free(b);
}

static bool request_produce(struct batch *b, unsigned node,
                            void (*answer)(void *data, int status, const struct frame *frame));

/* The new epoch has something in the log: a batch of the older one that comes now must be refused. */
static void wake_zombie(struct lane *lane, const struct batch *acked)
{
    struct batch *b = lane->zombie;

    if (b == NULL || acked->stream == b->stream) {
        return;
    }
    lane->zombie = NULL;
    if (oracle_stream_part(acked->stream) != oracle_stream_part(b->stream) || !request_produce(b, acked->node, on_zombie)) {
        batch_free(b);
        return;
    }
    oracle_counts(lane->producer->w->oracle)->zombies++;
}

static bool is_retriable(int error)
{
    return err_retriable(error) || error == ERR_UNKNOWN_TOPIC;
}

static void batch_failed(struct batch *b, int error, const char *text)
{
    struct lane *lane = b->lane;
    struct workload *w = lane->producer->w;
    struct oracle_counts *counts = oracle_counts(w->oracle);

    counts->unknown += error == ERR_UNKNOWN_OUTCOME;
    counts->not_leader += error == ERR_NOT_LEADER;
    if (error == ERR_OUT_OF_ORDER_SEQUENCE && !all_before_acked(b)) {
        counts->out_of_order++;
    } else if (!is_retriable(error)) {
        oracle_violation(w->oracle, "topic %u partition %u: node %u refused stream %u record %u (sent %u times): %s %s",
                         lane->topic, lane->partition, b->node, oracle_stream_id(b->stream), b->seq, b->times,
                         err_name(error), text);
    }
    lane->drain = true;
    lane->wait_ns = env_now_ns(lane->producer->env) + (BACKOFF_MS + client_random(lane->producer->net, BACKOFF_MS)) * SIM_MS;
    client_refresh(lane->producer->net);
}

static void batch_answer(struct batch *b, const struct frame *frame)
{
    struct lane *lane = b->lane;
    struct oracle *o = lane->producer->w->oracle;
    Cairn__Native__ProduceResponse *m;
    Cairn__Native__ProducePartitionResult *r;

    if (frame->header.status != 0) {
        batch_failed(b, frame->header.status, "");
        return;
    }
    m = cairn__native__produce_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL || m->n_partitions != 1) {
        oracle_violation(o, "a produce answer that cannot be read");
    }
    r = m->partitions[0];
    if (r->error == 0) {
        oracle_trace(o, "client: acked stream %u %u..%u at %" PRId64 " by n%u epoch %" PRIu64, oracle_stream_id(b->stream), b->seq,
                     b->seq + b->count - 1, r->base_offset, b->node, r->leader_epoch);
        oracle_acked(o, b->stream, b->seq, b->count, r->base_offset);
        oracle_answered(o, oracle_stream_part(b->stream), b->node, r->leader_epoch);
        oracle_told(oracle_stream_part(b->stream), r->leader_epoch, r->base_offset + b->count);
        b->acked = true;
        wake_zombie(lane, b);
        if (b->made_ns > lane->fresh_ns) {
            lane->fresh_ns = b->made_ns;
        }
    } else {
        oracle_trace(o, "client: stream %u %u..%u: n%u says %s", oracle_stream_id(b->stream), b->seq, b->seq + b->count - 1,
                     b->node, err_name((int)r->error));
        if (r->error != ERR_UNKNOWN_OUTCOME) {
            oracle_refused(o, b->stream, b->seq, b->count);
        }
        batch_failed(b, (int)r->error, r->error_text);
    }
    cairn__native__produce_response__free_unpacked(m, NULL);
    while (!list_empty(&lane->batches)) {
        struct batch *first = list_entry(lane->batches.next, struct batch, link);
        if (!first->acked || first->under_way) {
            break;
        }
        lane->n_batches--;
        batch_free(first);
    }
}

static void on_answer(void *data, int status, const struct frame *frame)
{
    struct batch *b = data;

    b->under_way = false;
    if (b->abandoned) {
        batch_free(b);
        return;
    }
    b->lane->under_way--;
    if (status != 0) {
        batch_failed(b, status, "");
    } else {
        batch_answer(b, frame);
    }
}

/* ---- sending --------------------------------------------------------------------------------------------------------- */

static bool request_produce(struct batch *b, unsigned node,
                            void (*answer)(void *data, int status, const struct frame *frame))
{
    struct lane *lane = b->lane;
    struct producer *p = lane->producer;
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition part = CAIRN__NATIVE__PRODUCE_PARTITION__INIT;
    Cairn__Native__ProducePartition *parts[1] = {&part};

    part.topic_id = (ProtobufCBinaryData){sizeof lane->topic_id.bytes, lane->topic_id.bytes};
    part.partition = lane->partition;
    part.size = (uint32_t)b->size;
    m.n_partitions = 1;
    m.partitions = parts;
    m.timeout_ms = p->w->request_timeout_ms;
    oracle_attempted(p->w->oracle, b->stream, b->seq, b->count);
    return client_request(p->net, node, CALL_PRODUCE, &m.base, b->bytes, b->size, p->w->request_timeout_ms + 500, answer, b) == 0;
}

static bool send_batch(struct batch *b, unsigned node)
{
    struct lane *lane = b->lane;
    struct producer *p = lane->producer;

    if (!request_produce(b, node, on_answer)) {
        return false;
    }
    oracle_counts(p->w->oracle)->retries += b->times > 0;
    b->times++;
    b->node = node;
    b->under_way = true;
    lane->under_way++;
    return true;
}

static void lane_send(struct lane *lane, unsigned node)
{
    unsigned window = lane->producer->idempotent ? INFLIGHT_MAX : 1;
    unsigned i = 0;

    if (lane->drain) {
        if (lane->under_way > 0 || env_now_ns(lane->producer->env) < lane->wait_ns) {
            return;
        }
        lane->drain = false;
    }
    list_for_each(pos, &lane->batches)
    {
        struct batch *b = list_entry(pos, struct batch, link);
        if (i++ == window) {
            return;
        }
        /* All of one window go to one node: another one would judge the later ones first. */
        if (b->under_way && b->node != node) {
            return;
        }
        if (!b->under_way && !b->acked && !send_batch(b, node)) {
            lane->drain = true;
            return;
        }
    }
}

static void on_producer_id(void *data, int status, const struct frame *frame)
{
    struct producer *p = data;
    Cairn__Native__InitProducerIdResponse *m;

    p->asking_id = false;
    if (status != 0 || frame->header.status != 0) {
        p->ask_ns = env_now_ns(p->env) + BACKOFF_MS * SIM_MS;
        return;
    }
    m = cairn__native__init_producer_id_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        oracle_violation(p->w->oracle, "a producer id's answer that cannot be read");
    }
    oracle_producer_id(p->w->oracle, p->id, p->epoch, m->producer_id, m->producer_epoch);
    oracle_trace(p->w->oracle, "client: producer id %" PRId64 " epoch %d", m->producer_id, m->producer_epoch);
    oracle_counts(p->w->oracle)->epoch_bumps += p->id >= 0;
    p->id = m->producer_id;
    p->epoch = m->producer_epoch;
    p->bump = false;
    cairn__native__init_producer_id_response__free_unpacked(m, NULL);
}

static bool have_id(struct producer *p)
{
    Cairn__Native__InitProducerIdRequest m = CAIRN__NATIVE__INIT_PRODUCER_ID_REQUEST__INIT;
    unsigned node;

    if (!p->idempotent || (p->id >= 0 && !p->bump)) {
        return true;
    }
    if (p->asking_id || env_now_ns(p->env) < p->ask_ns || (node = client_any_node(p->net)) == 0) {
        return false;
    }
    m.producer_id = p->id;
    m.producer_epoch = p->epoch;
    p->asking_id = client_request(p->net, node, CALL_INIT_PRODUCER_ID, &m.base, NULL, 0, p->w->request_timeout_ms + 500,
                                  on_producer_id, p) == 0;
    return false;
}

static void lane_turn(struct lane *lane)
{
    struct producer *p = lane->producer;
    const struct client_topic *t = client_topic(p->net, lane->topic);
    uint64_t now = env_now_ns(p->env);
    const struct client_partition *where;

    if (!t->exists || lane->partition >= t->n) {
        if (lane->stream != NULL && oracle_part_doomed(oracle_stream_part(lane->stream))) {
            lane->dead_id = lane->topic_id;
            lane_give_up(lane);
        }
        return;
    }
    if (uuid_equal(&lane->dead_id, &t->id)) {
        return;
    }
    if (lane->stream != NULL && !uuid_equal(&lane->topic_id, &t->id)) {
        lane_give_up(lane); /* another topic of the same name */
    }
    where = &t->partitions[lane->partition];
    if (lane->stream == NULL) {
        lane->topic_id = t->id;
        lane->stream = oracle_stream(p->w->oracle, where->part, p->idempotent ? p->id : -1, (int16_t)p->epoch);
        lane->next_ns = now;
    }
    if (!p->w->stop && now >= lane->next_ns && lane->n_batches < 2 * INFLIGHT_MAX) {
        make_batch(lane);
        lane->next_ns = now + client_random(p->net, 2 * p->w->batch_gap_ms * SIM_MS);
    }
    if (client_random(p->net, 500) == 0 && lane->under_way == 0) {
        lane_send(lane, 1 + (unsigned)client_random(p->net, p->w->n_nodes)); /* astray: refused, or as good as any */
    } else if (where->leader != 0) {
        lane_send(lane, where->leader);
    } else if (lane->n_batches > 0) {
        client_refresh(p->net);
    }
}

/* The client's contract: what is not known after the delivery timeout is told as unknown, and the epoch is raised, so that
 * nothing of it comes later than what follows. */
static bool must_give_up(struct producer *p, const struct lane *lane)
{
    const struct batch *first;
    if (list_empty(&lane->batches) || !p->idempotent || p->w->delivery_timeout_ms == 0) {
        return false;
    }
    first = list_entry(lane->batches.next, struct batch, link);
    return sim_world_now(p->w->world) - first->made_ns > p->w->delivery_timeout_ms * SIM_MS;
}

static void producer_tick(void *data)
{
    struct producer *p = data;

    if (!have_id(p)) {
        return;
    }
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            p->bump |= must_give_up(p, &p->lanes[t][i]);
        }
    }
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            if (p->bump) {
                lane_give_up(&p->lanes[t][i]);
            } else {
                lane_turn(&p->lanes[t][i]);
            }
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void *start(struct env *env, struct workload *w, bool idempotent)
{
    struct producer *p = calloc(1, sizeof *p);

    assert(p != NULL && w->partitions <= 16);
    p->env = env;
    p->w = w;
    p->idempotent = idempotent;
    p->id = -1;
    p->epoch = -1;
    p->net = client_net_new(env, w);
    p->scratch = malloc(BATCH_BYTES_MAX);
    p->value = malloc(BATCH_BYTES_MAX);
    assert(p->scratch != NULL && p->value != NULL);
    list_init(&p->abandoned);
    for (unsigned t = 0; t < CLIENT_TOPICS_MAX; t++) {
        for (unsigned i = 0; i < 16; i++) {
            struct lane *lane = &p->lanes[t][i];
            lane->producer = p;
            lane->topic = t;
            lane->partition = i;
            list_init(&lane->batches);
        }
    }
    client_tick_start(&p->tick, env, TICK_MS, producer_tick, p);
    return p;
}

static void *start_idempotent(struct env *env, struct workload *w)
{
    return start(env, w, true);
}

static void *start_plain(struct env *env, struct workload *w)
{
    return start(env, w, false);
}

static void producer_abandon(void *client)
{
    struct producer *p = client;
    struct list *pos;

    for (unsigned t = 0; t < CLIENT_TOPICS_MAX; t++) {
        for (unsigned i = 0; i < 16; i++) {
            list_splice_back(&p->abandoned, &p->lanes[t][i].batches);
        }
    }
    while ((pos = list_pop_front(&p->abandoned)) != NULL) {
        batch_free(list_entry(pos, struct batch, link));
    }
    client_net_abandon(p->net);
    free(p->scratch);
    free(p->value);
    free(p);
}

static bool producer_fresh(const void *client)
{
    const struct producer *p = client;
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            /* One that has not heard of a topic yet has acknowledged nothing; only the one that comes and goes may be gone. */
            if (p->lanes[t][i].fresh_ns <= p->w->healed_ns &&
                (client_topic(p->net, t)->exists || t == 0 || !p->w->churn)) {
                return false;
            }
        }
    }
    return true;
}

static bool producer_idle(const void *client)
{
    const struct producer *p = client;
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            if (!list_empty(&p->lanes[t][i].batches)) {
                return false;
            }
        }
    }
    return true;
}

static void producer_describe(const void *client, char *out, size_t size)
{
    const struct producer *p = client;
    size_t n = (size_t)snprintf(out, size, "producer id %" PRId64 " epoch %d bump %d:", p->id, p->epoch, p->bump);
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions && n < size; i++) {
            const struct lane *lane = &p->lanes[t][i];
            const struct client_topic *topic = client_topic(p->net, t);
            if (topic->exists && (!list_empty(&lane->batches) || lane->fresh_ns <= p->w->healed_ns)) {
                n += (size_t)snprintf(out + n, size - n, " t%u/%u: batches %u, under way %u, drain %d, leader %u;", t, i,
                                      lane->n_batches, lane->under_way, lane->drain,
                                      i < topic->n ? topic->partitions[i].leader : 0);
            }
        }
    }
}

const struct client_kind client_producer_idempotent = {
    "idempotent", start_idempotent, producer_abandon, producer_fresh, producer_idle, producer_describe};
const struct client_kind client_producer_plain = {
    "plain", start_plain, producer_abandon, producer_fresh, producer_idle, producer_describe};
