/* The prober: it knows what no client can know, who has just been elected and who led before. As soon as a successor has
 * acknowledged a record, it asks the predecessor, which may not know yet that it was deposed: an answer that is behind what
 * the successor has acknowledged is a lie. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/record_builder.h"
#include "tests/sim/client.h"

#define TICK_MS 5
#define AGAIN_MS 20
#define ANSWER_MS 1000
#define BATCH_BYTES_MAX (128u << 10)

struct prober;

struct probe {
    struct prober *prober;
    struct oracle_part *part; /* NULL: nothing to look at */
    struct uuid topic_id;
    unsigned partition;
    uint64_t term;     /* of the newest leader seen */
    unsigned leader;
    unsigned before;   /* who led, and has not noticed */
    uint64_t wait_ns;
    int64_t told;      /* one past what @leader has acknowledged in this term; -1: nothing */
    struct oracle_stream *stream; /* its record 0 is for @leader, its record 1 for @before; NULL: to be begun */
    struct bytes {
        uint8_t *data;
        size_t size;
    } batches[2];
    bool under_way; /* one of them */
};

enum what { PRODUCE, FETCH, LIST };

struct question {
    struct list link; /* of prober.questions */
    struct probe *probe;
    struct oracle_part *part; /* the probe may have gone on */
    enum what what;
    uint64_t term;
    struct oracle_stream *stream;
    uint32_t seq;
    struct oracle_reader reader;
    int64_t known_before;
};

struct prober {
    struct env *env;
    struct workload *w;
    struct client_net *net;
    struct client_tick tick;
    struct probe probes[CLIENT_TOPICS_MAX][16];
    struct list questions;
    int64_t spare_id; /* of a producer that has sent nothing; -1: none */
    bool asking_id;
    uint8_t *scratch;
    uint8_t *value;
};

static void question_free(struct question *q)
{
    list_remove(&q->link);
    oracle_reader_close(&q->reader);
    free(q);
}

static void stream_end(struct probe *probe)
{
    for (int i = 0; i < 2; i++) {
        free(probe->batches[i].data);
        probe->batches[i].data = NULL;
    }
    probe->stream = NULL;
}

static void must_be_retriable(const struct question *q, uint32_t error)
{
    if (!err_retriable((int)error) && error != ERR_UNKNOWN_TOPIC) {
        oracle_violation(q->probe->prober->w->oracle, "partition %u: a leader that was deposed says %s to %s %" PRId64,
                         q->probe->partition, err_name((int)error), q->what == PRODUCE ? "sequence number" : "offset",
                         q->what == PRODUCE ? (int64_t)q->seq : q->reader.offset);
    }
}

static void take_produced(struct question *q, const struct frame *frame)
{
    struct probe *probe = q->probe;
    struct oracle *o = probe->prober->w->oracle;
    Cairn__Native__ProduceResponse *m =
        cairn__native__produce_response__unpack(NULL, frame->header.message_length, frame->message);
    const Cairn__Native__ProducePartitionResult *r;
    bool current = q->stream == probe->stream;

    if (m == NULL || m->n_partitions != 1) {
        oracle_violation(o, "a produce answer that cannot be read");
    }
    r = m->partitions[0];
    if (r->error == 0) {
        oracle_acked(o, q->stream, q->seq, 1, r->base_offset);
        oracle_told(q->part, r->leader_epoch, r->base_offset + 1);
        if (current && q->seq == 0) {
            probe->told = r->base_offset + 1;
        } else if (current) {
            stream_end(probe); /* it leads again */
        }
    } else if (r->error != ERR_UNKNOWN_OUTCOME) {
        oracle_refused(o, q->stream, q->seq, 1);
        must_be_retriable(q, r->error);
    } else if (current) {
        stream_end(probe);
    }
    cairn__native__produce_response__free_unpacked(m, NULL);
}

static void take_fetched(struct question *q, const struct frame *frame)
{
    struct oracle *o = q->probe->prober->w->oracle;
    Cairn__Native__FetchResponse *m =
        cairn__native__fetch_response__unpack(NULL, frame->header.message_length, frame->message);

    if (m == NULL || m->n_partitions != 1 || m->partitions[0]->size != frame->header.payload_length) {
        oracle_violation(o, "a fetch answer that cannot be read");
    }
    if (m->partitions[0]->error != 0) {
        must_be_retriable(q, m->partitions[0]->error);
    } else {
        const Cairn__Native__FetchPartitionResult *r = m->partitions[0];
        (void)oracle_fetched(o, &q->reader, r->leader_epoch, r->high_watermark, r->log_start_offset, frame->payload, r->size);
        oracle_counts(o)->stale_answers += r->leader_epoch < q->term;
        oracle_counts(o)->probes_answered++;
    }
    cairn__native__fetch_response__free_unpacked(m, NULL);
}

static void take_listed(struct question *q, const struct frame *frame)
{
    struct oracle *o = q->probe->prober->w->oracle;
    Cairn__Native__ListOffsetsResponse *m =
        cairn__native__list_offsets_response__unpack(NULL, frame->header.message_length, frame->message);

    if (m == NULL || m->n_partitions != 1) {
        oracle_violation(o, "a list offsets answer that cannot be read");
    }
    if (m->partitions[0]->error != 0) {
        must_be_retriable(q, m->partitions[0]->error);
    } else {
        oracle_listed_end(o, q->part, q->known_before, m->partitions[0]->offset);
        oracle_counts(o)->probes_answered++;
    }
    cairn__native__list_offsets_response__free_unpacked(m, NULL);
}

static void on_answer(void *data, int status, const struct frame *frame)
{
    struct question *q = data;

    if (q->what == PRODUCE) {
        q->probe->under_way = false;
    }
    if (q->what == PRODUCE && (status != 0 || frame->header.status != 0) && q->stream == q->probe->stream) {
        stream_end(q->probe); /* what became of it is not known */
    }
    if (status == 0 && frame->header.status == 0) {
        switch (q->what) {
        case PRODUCE:
            take_produced(q, frame);
            break;
        case FETCH:
            take_fetched(q, frame);
            break;
        case LIST:
            take_listed(q, frame);
            break;
        }
    }
    question_free(q);
}

static struct question *question_new(struct probe *probe, enum what what)
{
    struct question *q = calloc(1, sizeof *q);

    assert(q != NULL);
    q->probe = probe;
    q->part = probe->part;
    q->what = what;
    q->term = probe->term;
    list_push_back(&probe->prober->questions, &q->link);
    return q;
}

static void sent(struct question *q, int rv)
{
    if (rv != 0) {
        q->probe->under_way &= q->what != PRODUCE;
        question_free(q);
    } else if (q->what != PRODUCE) {
        oracle_counts(q->probe->prober->w->oracle)->probes++;
    }
}

static void take_id(struct prober *p, const struct frame *frame)
{
    Cairn__Native__InitProducerIdResponse *m =
        cairn__native__init_producer_id_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        oracle_violation(p->w->oracle, "a producer id's answer that cannot be read");
    }
    oracle_producer_id(p->w->oracle, -1, -1, m->producer_id, m->producer_epoch);
    p->spare_id = m->producer_id;
    cairn__native__init_producer_id_response__free_unpacked(m, NULL);
}

static void on_id(void *data, int status, const struct frame *frame)
{
    struct prober *p = data;

    p->asking_id = false;
    if (status == 0 && frame->header.status == 0) {
        take_id(p, frame);
    }
}

static void ask_id(struct prober *p)
{
    Cairn__Native__InitProducerIdRequest m = CAIRN__NATIVE__INIT_PRODUCER_ID_REQUEST__INIT;
    unsigned node = client_any_node(p->net);

    m.producer_id = -1;
    m.producer_epoch = -1;
    p->asking_id = node != 0 && client_request(p->net, node, CALL_INIT_PRODUCER_ID, &m.base, NULL, 0, ANSWER_MS, on_id, p) == 0;
}

/* Two records, of which the second has a sequence number that only who knows the first can judge. */
static bool stream_begin(struct probe *probe)
{
    struct prober *p = probe->prober;
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;

    if (p->spare_id < 0) {
        return false;
    }
    stamp.producer_id = p->spare_id;
    stamp.producer_epoch = 0;
    probe->stream = oracle_stream(p->w->oracle, probe->part, p->spare_id, 0);
    p->spare_id = -1;
    for (int i = 0; i < 2; i++) {
        uint8_t *bytes;
        (void)client_batch_build(p->w->oracle, probe->stream, 1, env_wall_ms(p->env), &stamp, p->value, p->scratch,
                                 BATCH_BYTES_MAX, &bytes, &probe->batches[i].size);
        probe->batches[i].data = malloc(probe->batches[i].size);
        assert(probe->batches[i].data != NULL);
        memcpy(probe->batches[i].data, bytes, probe->batches[i].size);
    }
    return true;
}

static void produce(struct probe *probe, unsigned node, uint32_t seq)
{
    struct prober *p = probe->prober;
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition part = CAIRN__NATIVE__PRODUCE_PARTITION__INIT;
    Cairn__Native__ProducePartition *parts[1] = {&part};
    struct bytes *bytes = &probe->batches[seq];
    struct question *q;

    if (probe->under_way || !client_connected(p->net, node)) {
        return;
    }
    q = question_new(probe, PRODUCE);
    q->stream = probe->stream;
    q->seq = seq;
    part.topic_id = (ProtobufCBinaryData){sizeof probe->topic_id.bytes, probe->topic_id.bytes};
    part.partition = probe->partition;
    part.size = (uint32_t)bytes->size;
    m.n_partitions = 1;
    m.partitions = parts;
    m.timeout_ms = ANSWER_MS;
    oracle_attempted(p->w->oracle, q->stream, seq, 1);
    probe->under_way = true;
    sent(q, client_request(p->net, node, CALL_PRODUCE, &m.base, bytes->data, bytes->size, ANSWER_MS, on_answer, q));
}

static void fetch(struct probe *probe, unsigned node, int64_t offset)
{
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition part = CAIRN__NATIVE__FETCH_PARTITION__INIT;
    Cairn__Native__FetchPartition *parts[1] = {&part};
    struct question *q;

    if (!client_connected(probe->prober->net, node)) {
        return;
    }
    q = question_new(probe, FETCH);
    oracle_reader_init(&q->reader, probe->part, false);
    oracle_reader_asks(&q->reader);
    q->reader.offset = offset;
    part.topic_id = (ProtobufCBinaryData){sizeof probe->topic_id.bytes, probe->topic_id.bytes};
    part.partition = probe->partition;
    part.offset = offset;
    part.max_bytes = 1;
    m.n_partitions = 1;
    m.partitions = parts;
    m.max_bytes = 1;
    sent(q, client_request(probe->prober->net, node, CALL_FETCH, &m.base, NULL, 0, ANSWER_MS, on_answer, q));
}

static void list(struct probe *probe)
{
    Cairn__Native__ListOffsetsRequest m = CAIRN__NATIVE__LIST_OFFSETS_REQUEST__INIT;
    Cairn__Native__ListOffsetsPartition part = CAIRN__NATIVE__LIST_OFFSETS_PARTITION__INIT;
    Cairn__Native__ListOffsetsPartition *parts[1] = {&part};
    struct question *q = question_new(probe, LIST);

    part.topic_id = (ProtobufCBinaryData){sizeof probe->topic_id.bytes, probe->topic_id.bytes};
    part.partition = probe->partition;
    part.timestamp_ms = -1;
    q->known_before = oracle_known_end(probe->part);
    m.n_partitions = 1;
    m.partitions = parts;
    sent(q, client_request(probe->prober->net, probe->before, CALL_LIST_OFFSETS, &m.base, NULL, 0, ANSWER_MS, on_answer, q));
}

static void look(struct probe *probe, const struct client_topic *topic, unsigned partition)
{
    struct prober *p = probe->prober;
    struct oracle_part *part = topic->exists && partition < topic->n ? topic->partitions[partition].part : NULL;
    uint64_t now = env_now_ns(p->env);
    unsigned leader, before;
    uint64_t term = part == NULL ? 0 : oracle_succession(p->w->oracle, part, &leader, &before);

    if (probe->part != part) {
        stream_end(probe);
        probe->part = part;
        probe->topic_id = topic->id;
        probe->partition = partition;
        probe->term = 0;
    }
    if (term != probe->term && term != 0) {
        stream_end(probe);
        probe->term = term;
        probe->leader = leader;
        probe->before = before;
        probe->told = -1;
    }
    if (term == 0 || p->w->stop || now < probe->wait_ns) {
        return;
    }
    probe->wait_ns = now + AGAIN_MS * SIM_MS;
    if (probe->told < 0) {
        fetch(probe, probe->leader, 0); /* which may not be ready: then it knows less than its predecessor has told */
        if (probe->stream != NULL || stream_begin(probe)) {
            produce(probe, probe->leader, 0);
        }
    } else if (client_connected(p->net, probe->before)) {
        fetch(probe, probe->before, client_random(p->net, 4) == 0 ? 0 : probe->told);
        list(probe);
        if (probe->stream != NULL) {
            produce(probe, probe->before, 1);
        }
    }
}

static void tick(void *data)
{
    struct prober *p = data;

    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            look(&p->probes[t][i], client_topic(p->net, t), i);
        }
    }
    for (unsigned node = 1; node <= p->w->n_nodes; node++) {
        (void)client_connected(p->net, node); /* dialled before it is needed */
    }
    if (p->spare_id < 0 && !p->asking_id) {
        ask_id(p);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void *start(struct env *env, struct workload *w)
{
    struct prober *p = calloc(1, sizeof *p);

    assert(p != NULL && w->partitions <= 16);
    p->env = env;
    p->w = w;
    p->net = client_net_new(env, w);
    p->spare_id = -1;
    p->scratch = malloc(BATCH_BYTES_MAX);
    p->value = malloc(BATCH_BYTES_MAX);
    assert(p->scratch != NULL && p->value != NULL);
    list_init(&p->questions);
    for (unsigned t = 0; t < CLIENT_TOPICS_MAX; t++) {
        for (unsigned i = 0; i < 16; i++) {
            p->probes[t][i].prober = p;
        }
    }
    client_tick_start(&p->tick, env, TICK_MS, tick, p);
    return p;
}

static void prober_abandon(void *client)
{
    struct prober *p = client;

    while (!list_empty(&p->questions)) {
        question_free(list_entry(p->questions.next, struct question, link));
    }
    for (unsigned t = 0; t < CLIENT_TOPICS_MAX; t++) {
        for (unsigned i = 0; i < 16; i++) {
            stream_end(&p->probes[t][i]);
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

static bool prober_idle(const void *client)
{
    const struct prober *p = client;
    return list_empty(&p->questions);
}

static void prober_describe(const void *client, char *out, size_t size)
{
    snprintf(out, size, "prober");
}

const struct client_kind client_prober = {"prober", start, prober_abandon, always, prober_idle, prober_describe};
