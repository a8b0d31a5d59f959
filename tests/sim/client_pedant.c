/* The pedant: an idempotent producer of single records that does on purpose what others do rarely. It sends a record twice at
 * once, comes back with one that was acknowledged long ago, raises its epoch again and again, begins some epochs in the
 * middle, and others with a batch that is not one, which nobody may take. It reads where there is nothing, and in some runs asks for
 * more producer ids than a node takes at once. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/record_builder.h"
#include "tests/sim/client.h"

#define TICK_MS 10
#define BACKOFF_MS 50
#define RECORDS_AN_EPOCH 3
#define BATCH_BYTES_MAX (128u << 10)
#define SEQUENCE_AHEAD 3
#define IDS_MANY 1100 /* a node has blocks of 1,000 */
#define IDS_AT_ONCE 8
#define FAR_OFF (1ll << 40)

struct pedant;

enum step { ASK_ID, BEGIN_AHEAD, SPOIL, SEND, AGAIN };

struct lane {
    struct pedant *pedant;
    unsigned topic;
    unsigned partition;
    struct uuid topic_id;
    struct oracle_part *part; /* NULL: not there */
    enum step step;
    int64_t id;
    int32_t epoch;
    struct oracle_stream *stream; /* of this epoch */
    uint32_t seq;
    struct {
        uint8_t *bytes;
        size_t size;
    } batches[RECORDS_AN_EPOCH];
    unsigned under_way;
    bool acked;
    uint32_t life; /* a lane that begins anew takes no old answers */
    uint64_t wait_ns;
};

struct asked {
    struct list link; /* of pedant.calls */
    struct lane *lane;
    uint32_t life;
    struct oracle_stream *stream;
    enum step step;
    uint32_t seq;
    unsigned node;
};

struct pedant {
    struct env *env;
    struct workload *w;
    struct client_net *net;
    struct client_tick tick;
    struct lane lanes[CLIENT_TOPICS_MAX][16];
    struct list calls;
    unsigned ids_wanted; /* beside its own, all of one node */
    unsigned ids_asked;  /* under way */
    unsigned ids_node;
    uint8_t *scratch;
    uint8_t *value;
};

static void wait(struct lane *lane, uint64_t ms)
{
    struct pedant *p = lane->pedant;
    lane->wait_ns = env_now_ns(p->env) + (ms / 2 + client_random(p->net, ms)) * SIM_MS;
}

static void epoch_end(struct lane *lane)
{
    for (unsigned i = 0; i < RECORDS_AN_EPOCH; i++) {
        free(lane->batches[i].bytes);
        lane->batches[i].bytes = NULL;
    }
    lane->stream = NULL;
    lane->step = ASK_ID;
}

static void begin(struct lane *lane, const struct client_topic *topic, struct oracle_part *part)
{
    epoch_end(lane);
    lane->part = part;
    lane->topic_id = topic->id;
    lane->id = -1;
    lane->epoch = -1;
    lane->under_way = 0;
    lane->life++;
}

/* All that was under way is answered. */
static void go_on(struct lane *lane)
{
    struct pedant *p = lane->pedant;

    wait(lane, lane->acked ? 2 * p->w->batch_gap_ms : BACKOFF_MS);
    if (!lane->acked) {
        return;
    }
    if (lane->step == AGAIN) {
        lane->step = SEND;
    } else if (client_random(p->net, 3) == 0) {
        lane->step = AGAIN;
        return;
    }
    if (++lane->seq == RECORDS_AN_EPOCH) {
        epoch_end(lane);
    }
}

/* ---- answers --------------------------------------------------------------------------------------------------------- */

static void taken(struct asked *call, int64_t offset)
{
    struct oracle *o = call->lane->pedant->w->oracle;

    if (call->step == SPOIL) {
        oracle_violation(o, "stream %u: node %u took a spoilt batch", oracle_stream_id(call->stream), call->node);
    }
    if (call->step == BEGIN_AHEAD) {
        oracle_violation(o, "stream %u: node %u took an epoch that begins with sequence number %d", oracle_stream_id(call->stream),
                         call->node, SEQUENCE_AHEAD);
    }
    oracle_acked(o, call->stream, call->seq, 1, offset);
    oracle_counts(o)->pedant_acks++;
}

static void refused(struct asked *call, int error)
{
    struct oracle *o = call->lane->pedant->w->oracle;

    oracle_counts(o)->not_leader += error == ERR_NOT_LEADER;
    if (call->step == SPOIL) {
        oracle_counts(o)->pedant_spoilt += error == ERR_CORRUPT || error == ERR_INVALID_RECORD;
        if (!err_retriable(error) && error != ERR_UNKNOWN_TOPIC && error != ERR_CORRUPT && error != ERR_INVALID_RECORD) {
            oracle_violation(o, "stream %u: node %u refused a spoilt batch with %s", oracle_stream_id(call->stream), call->node,
                             err_name(error));
        }
        return;
    }
    if (call->step == BEGIN_AHEAD) {
        oracle_counts(o)->pedant_refused += error == ERR_OUT_OF_ORDER_SEQUENCE;
        if (!err_retriable(error) && error != ERR_UNKNOWN_TOPIC && error != ERR_OUT_OF_ORDER_SEQUENCE) {
            oracle_violation(o, "stream %u: node %u refused a sequence number ahead with %s", oracle_stream_id(call->stream),
                             call->node, err_name(error));
        }
        return;
    }
    if (error != ERR_UNKNOWN_OUTCOME) {
        oracle_refused(o, call->stream, call->seq, 1);
    }
    if (!err_retriable(error) && error != ERR_UNKNOWN_TOPIC) {
        oracle_violation(o, "stream %u record %u, all before it acknowledged: node %u refused it with %s",
                         oracle_stream_id(call->stream), call->seq, call->node, err_name(error));
    }
}

static void on_produced(void *data, int status, const struct frame *frame)
{
    struct asked *call = data;
    struct lane *lane = call->lane;
    Cairn__Native__ProduceResponse *m = NULL;
    bool ok = false;

    if (status == 0 && frame->header.status == 0) {
        m = cairn__native__produce_response__unpack(NULL, frame->header.message_length, frame->message);
        if (m == NULL || m->n_partitions != 1) {
            oracle_violation(lane->pedant->w->oracle, "a produce answer that cannot be read");
        }
        ok = m->partitions[0]->error == 0;
        if (ok) {
            oracle_answered(lane->pedant->w->oracle, oracle_stream_part(call->stream), call->node, m->partitions[0]->leader_epoch);
            taken(call, m->partitions[0]->base_offset);
        } else {
            refused(call, (int)m->partitions[0]->error);
        }
        cairn__native__produce_response__free_unpacked(m, NULL);
    }
    if (call->life == lane->life) {
        lane->acked |= ok;
        lane->under_way--;
        if (!ok) {
            client_refresh(lane->pedant->net);
        }
        if (lane->under_way == 0 && (lane->step == BEGIN_AHEAD || lane->step == SPOIL)) {
            lane->step = SEND; /* whatever became of it: one try */
        } else if (lane->under_way == 0) {
            go_on(lane);
        }
    }
    list_remove(&call->link);
    free(call);
}

static void on_id(void *data, int status, const struct frame *frame)
{
    struct asked *call = data;
    struct lane *lane = call->lane;
    struct pedant *p = lane->pedant;

    if (status == 0 && frame->header.status == 0 && call->life == lane->life) {
        Cairn__Native__InitProducerIdResponse *m =
            cairn__native__init_producer_id_response__unpack(NULL, frame->header.message_length, frame->message);
        if (m == NULL) {
            oracle_violation(p->w->oracle, "a producer id's answer that cannot be read");
        }
        uint64_t dice = client_random(p->net, 6);
        oracle_producer_id(p->w->oracle, lane->id, lane->epoch, m->producer_id, m->producer_epoch);
        lane->step = m->producer_id == lane->id && dice < 2 ? BEGIN_AHEAD : dice == 2 ? SPOIL : SEND;
        lane->id = m->producer_id;
        lane->epoch = m->producer_epoch;
        lane->stream = oracle_stream(p->w->oracle, lane->part, lane->id, (int16_t)lane->epoch);
        lane->seq = 0;
        cairn__native__init_producer_id_response__free_unpacked(m, NULL);
    } else if (call->life == lane->life) {
        wait(lane, BACKOFF_MS);
    }
    if (call->life == lane->life) {
        lane->under_way--;
    }
    list_remove(&call->link);
    free(call);
}

/* ---- asking ---------------------------------------------------------------------------------------------------------- */

static struct asked *asked_new(struct lane *lane, unsigned node)
{
    struct asked *call = calloc(1, sizeof *call);

    assert(call != NULL);
    *call = (struct asked){.lane = lane, .life = lane->life, .stream = lane->stream, .step = lane->step, .seq = lane->seq,
                          .node = node};
    list_push_back(&lane->pedant->calls, &call->link);
    lane->under_way++;
    return call;
}

static void check_sent(struct asked *call, int rv)
{
    if (rv != 0) {
        call->lane->under_way--;
        list_remove(&call->link);
        free(call);
    }
}

static void ask_id(struct lane *lane)
{
    struct pedant *p = lane->pedant;
    Cairn__Native__InitProducerIdRequest m = CAIRN__NATIVE__INIT_PRODUCER_ID_REQUEST__INIT;
    unsigned node = client_any_node(p->net);
    struct asked *call;

    if (node == 0) {
        return;
    }
    call = asked_new(lane, node);
    m.producer_id = lane->id;
    m.producer_epoch = lane->epoch;
    check_sent(call, client_request(p->net, node, CALL_INIT_PRODUCER_ID, &m.base, NULL, 0, p->w->request_timeout_ms + 500, on_id,
                                    call));
}

static void send(struct lane *lane, unsigned node, const uint8_t *bytes, size_t size)
{
    struct pedant *p = lane->pedant;
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition part = CAIRN__NATIVE__PRODUCE_PARTITION__INIT;
    Cairn__Native__ProducePartition *parts[1] = {&part};
    struct asked *call = asked_new(lane, node);

    part.topic_id = (ProtobufCBinaryData){sizeof lane->topic_id.bytes, lane->topic_id.bytes};
    part.partition = lane->partition;
    part.size = (uint32_t)size;
    m.n_partitions = 1;
    m.partitions = parts;
    m.timeout_ms = p->w->request_timeout_ms;
    if (lane->step != BEGIN_AHEAD && lane->step != SPOIL) {
        oracle_attempted(p->w->oracle, lane->stream, lane->seq, 1);
    }
    check_sent(call, client_request(p->net, node, CALL_PRODUCE, &m.base, bytes, size, p->w->request_timeout_ms + 500,
                                    on_produced, call));
}

static struct record_batch_stamp stamp_of(const struct lane *lane)
{
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    stamp.producer_id = lane->id;
    stamp.producer_epoch = (int16_t)lane->epoch;
    return stamp;
}

/* One bit that no longer fits its crc, or a crc that fits what makes no sense. */
static void spoil(struct pedant *p, const struct lane *lane, uint8_t *bytes, size_t size)
{
    static const uint8_t senseless[] = {22, 26, 60}; /* attributes, last offset's delta, count: their lowest bytes */
    uint64_t dice = client_random(p->net, 2);

    if (dice == 0) {
        size_t at = RECORD_BATCH_CRC_BEGIN + client_random(p->net, size - RECORD_BATCH_CRC_BEGIN);
        bytes[at] ^= (uint8_t)(1u << client_random(p->net, 8));
    } else {
        size_t at = senseless[client_random(p->net, sizeof senseless)];
        bytes[at] |= at == 22 ? RECORD_ATTRIBUTE_CONTROL : 2;
        record_batch_set_producer(bytes, size, lane->id, (int16_t)lane->epoch, 0);
    }
}

/* A record of the stream behind those that it will have, or a spoilt one: whoever reads it sees that it was never sent. */
static void begin_badly(struct lane *lane, unsigned node)
{
    struct pedant *p = lane->pedant;
    struct record_batch_stamp stamp = stamp_of(lane);
    struct record_builder builder;
    uint8_t *bytes;
    size_t size;
    int rv;

    stamp.base_sequence = lane->step == SPOIL ? 0 : SEQUENCE_AHEAD;
    memset(p->value, 0, ORACLE_VALUE_MIN);
    record_builder_init(&builder, p->scratch, BATCH_BYTES_MAX);
    rv = record_builder_append(&builder, NULL, -1, p->value, ORACLE_VALUE_MIN, NULL, 0, env_wall_ms(p->env));
    assert(rv == 0);
    rv = record_builder_finish(&builder, &stamp, NULL, &bytes, &size);
    assert(rv == 0);
    (void)rv;
    if (lane->step == SPOIL) {
        spoil(p, lane, bytes, size);
    }
    send(lane, node, bytes, size);
}

static void send_record(struct lane *lane, unsigned node)
{
    struct pedant *p = lane->pedant;
    bool twice = client_random(p->net, 2) == 0;

    if (lane->batches[lane->seq].bytes == NULL) {
        struct record_batch_stamp stamp = stamp_of(lane);
        uint8_t *bytes;
        size_t size;
        (void)client_batch_build(p->w->oracle, lane->stream, 1, env_wall_ms(p->env), &stamp, p->value, p->scratch,
                                 BATCH_BYTES_MAX, &bytes, &size);
        lane->batches[lane->seq].bytes = malloc(size);
        assert(lane->batches[lane->seq].bytes != NULL);
        memcpy(lane->batches[lane->seq].bytes, bytes, size);
        lane->batches[lane->seq].size = size;
    }
    lane->acked = false;
    for (int i = 0; i < 1 + twice; i++) {
        send(lane, node, lane->batches[lane->seq].bytes, lane->batches[lane->seq].size);
    }
}

static void on_outside(void *data, int status, const struct frame *frame)
{
    struct asked *call = data;
    struct lane *lane = call->lane;
    struct oracle *o = lane->pedant->w->oracle;

    if (status == 0 && frame->header.status == 0) {
        Cairn__Native__FetchResponse *m =
            cairn__native__fetch_response__unpack(NULL, frame->header.message_length, frame->message);
        int error = m == NULL || m->n_partitions != 1 ? 0 : (int)m->partitions[0]->error;
        int due = call->seq == lane->pedant->w->partitions ? ERR_UNKNOWN_TOPIC : ERR_OFFSET_OUT_OF_RANGE;
        if (error != due && error != ERR_UNKNOWN_TOPIC && !err_retriable(error)) {
            oracle_violation(o, "partition %u: node %u says %s to a reader who asks for what is not there, not %s", call->seq,
                             call->node, err_name(error), err_name(due));
        }
        oracle_counts(o)->pedant_outside += error == due;
        cairn__native__fetch_response__free_unpacked(m, NULL);
    }
    if (call->life == lane->life) {
        lane->under_way--;
    }
    list_remove(&call->link);
    free(call);
}

/* From far behind the end, or from a partition behind the last. */
static void read_outside(struct lane *lane, unsigned node)
{
    struct pedant *p = lane->pedant;
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition part = CAIRN__NATIVE__FETCH_PARTITION__INIT;
    Cairn__Native__FetchPartition *parts[1] = {&part};
    struct asked *call = asked_new(lane, node);

    call->seq = client_random(p->net, 4) == 0 ? p->w->partitions : lane->partition;
    part.topic_id = (ProtobufCBinaryData){sizeof lane->topic_id.bytes, lane->topic_id.bytes};
    part.partition = call->seq;
    part.offset = oracle_known_end(lane->part) + FAR_OFF;
    part.max_bytes = 1;
    m.n_partitions = 1;
    m.partitions = parts;
    m.max_bytes = 1;
    check_sent(call, client_request(p->net, node, CALL_FETCH, &m.base, NULL, 0, p->w->request_timeout_ms + 500, on_outside, call));
}

static void on_one_of_many(void *data, int status, const struct frame *frame)
{
    struct pedant *p = data;

    p->ids_asked--;
    if (status == 0 && frame->header.status == 0) {
        Cairn__Native__InitProducerIdResponse *m =
            cairn__native__init_producer_id_response__unpack(NULL, frame->header.message_length, frame->message);
        if (m == NULL) {
            oracle_violation(p->w->oracle, "a producer id's answer that cannot be read");
        }
        oracle_producer_id(p->w->oracle, -1, -1, m->producer_id, m->producer_epoch);
        p->ids_wanted -= p->ids_wanted > 0;
        cairn__native__init_producer_id_response__free_unpacked(m, NULL);
    }
}

static void ask_many_ids(struct pedant *p)
{
    while (p->ids_wanted > 0 && p->ids_asked < IDS_AT_ONCE && !p->w->stop && p->w->healed_ns == 0) {
        Cairn__Native__InitProducerIdRequest m = CAIRN__NATIVE__INIT_PRODUCER_ID_REQUEST__INIT;
        m.producer_id = -1;
        m.producer_epoch = -1;
        if (client_request(p->net, p->ids_node, CALL_INIT_PRODUCER_ID, &m.base, NULL, 0, p->w->request_timeout_ms + 500,
                           on_one_of_many, p) != 0) {
            return;
        }
        p->ids_asked++;
    }
}

static void turn(struct lane *lane)
{
    struct pedant *p = lane->pedant;
    const struct client_topic *topic = client_topic(p->net, lane->topic);
    struct oracle_part *part = topic->exists && lane->partition < topic->n ? topic->partitions[lane->partition].part : NULL;
    unsigned leader;

    if (part != lane->part) {
        begin(lane, topic, part);
    }
    /* When the workload ends it brings to an end what it has begun. */
    if (part == NULL || lane->under_way > 0 || env_now_ns(p->env) < lane->wait_ns ||
        (p->w->stop && (lane->step == ASK_ID || lane->batches[lane->seq].bytes == NULL))) {
        return;
    }
    if (lane->step == ASK_ID) {
        ask_id(lane);
        return;
    }
    leader = topic->partitions[lane->partition].leader;
    if (leader == 0 || !client_connected(p->net, leader)) {
        client_refresh(p->net);
    } else if (lane->step == BEGIN_AHEAD || lane->step == SPOIL) {
        begin_badly(lane, leader);
    } else if (client_random(p->net, 8) == 0) {
        read_outside(lane, leader);
    } else {
        send_record(lane, leader);
    }
}

static void tick(void *data)
{
    struct pedant *p = data;

    ask_many_ids(p);
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            turn(&p->lanes[t][i]);
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void *start(struct env *env, struct workload *w)
{
    struct pedant *p = calloc(1, sizeof *p);

    assert(p != NULL && w->partitions <= 16);
    p->env = env;
    p->w = w;
    p->net = client_net_new(env, w);
    p->scratch = malloc(BATCH_BYTES_MAX);
    p->value = malloc(BATCH_BYTES_MAX);
    assert(p->scratch != NULL && p->value != NULL);
    list_init(&p->calls);
    p->ids_wanted = client_random(p->net, 8) == 0 ? IDS_MANY : 0;
    p->ids_node = 1 + (unsigned)client_random(p->net, w->n_nodes);
    for (unsigned t = 0; t < CLIENT_TOPICS_MAX; t++) {
        for (unsigned i = 0; i < 16; i++) {
            p->lanes[t][i] = (struct lane){.pedant = p, .topic = t, .partition = i, .id = -1, .epoch = -1};
        }
    }
    client_tick_start(&p->tick, env, TICK_MS, tick, p);
    return p;
}

static void pedant_abandon(void *client)
{
    struct pedant *p = client;
    struct list *pos;

    while ((pos = list_pop_front(&p->calls)) != NULL) {
        free(list_entry(pos, struct asked, link));
    }
    for (unsigned t = 0; t < CLIENT_TOPICS_MAX; t++) {
        for (unsigned i = 0; i < 16; i++) {
            epoch_end(&p->lanes[t][i]);
        }
    }
    client_net_abandon(p->net);
    free(p->scratch);
    free(p->value);
    free(p);
}

static bool always(const void *client)
{
    return true;
}

static bool pedant_idle(const void *client)
{
    const struct pedant *p = client;

    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            const struct lane *lane = &p->lanes[t][i];
            if (lane->part != NULL && !oracle_part_doomed(lane->part) && lane->step != ASK_ID &&
                lane->batches[lane->seq].bytes != NULL) {
                return false;
            }
        }
    }
    return true;
}

static void pedant_describe(const void *client, char *out, size_t size)
{
    const struct pedant *p = client;
    size_t n = (size_t)snprintf(out, size, "pedant:");

    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions && n < size; i++) {
            const struct lane *lane = &p->lanes[t][i];
            n += (size_t)snprintf(out + n, size - n, " t%u/%u: producer %" PRId64 " epoch %d record %u step %d under way %u;", t, i,
                                  lane->id, lane->epoch, lane->seq, lane->step, lane->under_way);
        }
    }
}

const struct client_kind client_pedant = {"pedant", start, pedant_abandon, always, pedant_idle, pedant_describe};
