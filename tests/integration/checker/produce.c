/* Lanes: batches of one stream for one partition, in order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/checker/checker.h"

#define NODE_TIMEOUT_MS 30000

static size_t batch_capacity(const struct checker *ck)
{
    return RECORD_BATCH_HEADER_SIZE +
           (size_t)ck->args.batch_records * record_size_max(-1, (int32_t)ck->args.value_size, NULL, 0);
}

int produce_init(struct checker *ck, char *errmsg)
{
    size_t capacity = batch_capacity(ck);

    if (capacity > RECORD_BATCH_SIZE_MAX) {
        snprintf(errmsg, ERRMSG_SIZE, "batches of %zu bytes: at most %u", capacity, RECORD_BATCH_SIZE_MAX);
        return ERR_CONFIG;
    }
    ck->n_lanes = ck->args.streams * ck->n_partitions;
    ck->lanes = calloc(ck->n_lanes + 1, sizeof *ck->lanes);
    ck->stats.partition_ack_us = calloc(ck->n_partitions, sizeof(uint64_t));
    ck->stats.partition_gap_us = calloc(ck->n_partitions, sizeof(uint64_t));
    ck->stats.partition_acknowledged = calloc(ck->n_partitions, sizeof(uint64_t));
    if (ck->lanes == NULL || ck->stats.partition_ack_us == NULL || ck->stats.partition_gap_us == NULL ||
        ck->stats.partition_acknowledged == NULL) {
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < ck->n_lanes; i++) {
        struct ck_lane *lane = &ck->lanes[i];
        lane->stream = i / ck->n_partitions;
        lane->partition = i % ck->n_partitions;
        for (int k = 0; k < LANE_WINDOW; k++) {
            lane->window[k].memory = malloc(capacity);
            if (lane->window[k].memory == NULL) {
                return ERR_NOMEM;
            }
        }
    }
    return 0;
}

void produce_close(struct checker *ck)
{
    for (uint32_t i = 0; ck->lanes != NULL && i < ck->n_lanes; i++) {
        for (int k = 0; k < LANE_WINDOW; k++) {
            free(ck->lanes[i].window[k].memory);
        }
        free(ck->lanes[i].offsets);
    }
    free(ck->lanes);
    free(ck->stats.partition_ack_us);
    free(ck->stats.partition_gap_us);
    free(ck->stats.partition_acknowledged);
}

/* ---- what is due ------------------------------------------------------------------------------------------------------------ */

/* Batch n of all is offered at begin + n * K / rate and belongs to lane n mod lanes. */
static uint64_t due_us(const struct checker *ck, uint32_t lane, uint64_t number)
{
    double n = (double)(number * ck->n_lanes + lane);
    return ck->load_begin_us + (uint64_t)(n * ck->args.batch_records * 1e6 / ck->args.rate);
}

uint64_t produce_offered(const struct checker *ck, uint32_t lane)
{
    uint64_t until_us = ck->load_end_us != 0 ? ck->load_end_us : ck->now_us;
    uint64_t all;

    if (ck->load_begin_us == 0) {
        return 0;
    }
    all = 1 + (uint64_t)((double)(until_us - ck->load_begin_us) * ck->args.rate / 1e6 / ck->args.batch_records);
    if (ck->args.records != 0 && all > (ck->args.records + ck->args.batch_records - 1) / ck->args.batch_records) {
        all = (ck->args.records + ck->args.batch_records - 1) / ck->args.batch_records;
    }
    return all <= lane ? 0 : (all - lane - 1) / ck->n_lanes + 1;
}

bool produce_outstanding(const struct checker *ck)
{
    for (uint32_t i = 0; i < ck->n_lanes; i++) {
        if (ck->lanes[i].first < produce_offered(ck, i)) {
            return true;
        }
    }
    return false;
}

/* ---- producer ids -------------------------------------------------------------------------------------------------------------- */

static void id_answered(struct checker *ck, struct ck_request *request, int status, const struct frame *frame)
{
    struct ck_stream *stream = request->owner;
    Cairn__Native__InitProducerIdResponse *m;

    stream->asked = false;
    if (status != 0 || frame == NULL) {
        return; /* asked again */
    }
    m = cairn__native__init_producer_id_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        violation(ck, UINT32_MAX, -1, "an INIT_PRODUCER_ID response that does not decode");
        return;
    }
    stream->producer_id = m->producer_id;
    stream->producer_epoch = m->producer_epoch;
    for (uint32_t i = 0; i < ck->args.streams; i++) {
        if (&ck->streams[i] != stream && ck->streams[i].producer_id == m->producer_id) {
            violation(ck, UINT32_MAX, -1, "producer id %lld was issued twice", (long long)m->producer_id);
        }
    }
    cairn__native__init_producer_id_response__free_unpacked(m, NULL);
}

static void ask_id(struct checker *ck, uint32_t i)
{
    Cairn__Native__InitProducerIdRequest m = CAIRN__NATIVE__INIT_PRODUCER_ID_REQUEST__INIT;
    struct ck_request request = {.done = id_answered, .owner = &ck->streams[i], .partition = UINT32_MAX};
    struct ck_conn *conn = conn_to(ck, (int)i, (uint32_t)(i + ck->now_us / 1000000) % ck->n_nodes);

    if (conn == NULL || ck->streams[i].asked) {
        return;
    }
    m.producer_id = -1;
    m.producer_epoch = -1;
    ck->streams[i].asked = true;
    conn_request(conn, CALL_INIT_PRODUCER_ID, &m.base, NULL, 0, &request);
}

/* ---- answers ------------------------------------------------------------------------------------------------------------------ */

static void count_gap(uint64_t *last_us, uint64_t *gap_us, uint64_t now_us)
{
    if (*last_us != 0 && now_us - *last_us > *gap_us) {
        *gap_us = now_us - *last_us;
    }
    *last_us = now_us;
}

static void acknowledged(struct checker *ck, struct ck_lane *lane, uint64_t number, int64_t base_offset)
{
    struct ck_batch *batch = &lane->window[number % LANE_WINDOW];
    struct ck_stats *s = &ck->stats;
    uint64_t gap_us = s->gap_us;
    uint64_t since_us = s->last_ack_us;

    batch->state = BATCH_ACKED;
    lane->offsets[number] = base_offset;
    s->acknowledged += ck->args.batch_records;
    s->partition_acknowledged[lane->partition] += ck->args.batch_records;
    if (s->first_ack_us == 0) {
        s->first_ack_us = ck->now_us;
    }
    count_gap(&s->partition_ack_us[lane->partition], &s->partition_gap_us[lane->partition], ck->now_us);
    count_gap(&s->last_ack_us, &s->gap_us, ck->now_us);
    if (s->gap_us > gap_us) {
        s->gap_begin_us = since_us;
    }
    histogram_add(&s->latency_us, ck->now_us > batch->due_us ? ck->now_us - batch->due_us : 0);
    if (base_offset < ck->begin[lane->partition]) {
        violation(ck, lane->partition, base_offset, "acknowledged at an offset that was there before");
    }
    while (lane->first < lane->next && lane->window[lane->first % LANE_WINDOW].state == BATCH_ACKED) {
        lane->first++;
    }
}

static void failed(struct checker *ck, struct ck_lane *lane, uint64_t number, int error)
{
    struct ck_batch *batch = &lane->window[number % LANE_WINDOW];
    batch->state = BATCH_FAILED;
    batch->error = error;
    ck->stats.errors[error < ERRORS_MAX ? error : 0]++;
    lane->recovering = true;
    lane->retry_us = ck->now_us + LANE_RETRY_US;
    meta_want(ck);
}

static void produced(struct checker *ck, struct ck_request *request, int status, const struct frame *frame)
{
    struct ck_lane *lane = request->owner;
    Cairn__Native__ProduceResponse *m;
    const Cairn__Native__ProducePartitionResult *r;

    if (status != 0 || frame == NULL) {
        failed(ck, lane, request->number, status);
        return;
    }
    m = cairn__native__produce_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL || m->n_partitions != 1 || m->partitions[0]->partition != lane->partition) {
        violation(ck, lane->partition, -1, "a produce response that does not fit its request");
        failed(ck, lane, request->number, ERR_MALFORMED);
        return;
    }
    r = m->partitions[0];
    if (r->error == 0) {
        acknowledged(ck, lane, request->number, r->base_offset);
    } else {
        if (r->error == ERR_NOT_LEADER) {
            meta_hint(ck, lane->partition, r->leader_node, r->leader_epoch, "produce");
        }
        failed(ck, lane, request->number, (int)r->error);
    }
    cairn__native__produce_response__free_unpacked(m, NULL);
}

/* ---- sending ------------------------------------------------------------------------------------------------------------------- */

static void build(struct checker *ck, struct ck_lane *lane, uint32_t index, uint64_t number, struct ck_batch *batch)
{
    const struct ck_stream *stream = &ck->streams[lane->stream];
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct record_builder builder;
    uint8_t value[VALUE_SIZE_MAX];
    struct value v = {
        .kind = VALUE_LOAD, .run = ck->run, .producer = lane->stream, .partition = lane->partition};

    batch->due_us = due_us(ck, index, number);
    v.time_us = batch->due_us + ck->wall_offset_us;
    record_builder_init(&builder, batch->memory, batch_capacity(ck));
    for (uint32_t i = 0; i < ck->args.batch_records; i++) {
        v.sequence = number * ck->args.batch_records + i;
        value_encode(&v, value, ck->args.value_size);
        if (record_builder_append(&builder, NULL, -1, value, (int32_t)ck->args.value_size, NULL, 0,
                                  (int64_t)(v.time_us / 1000)) != 0) {
            abort();
        }
    }
    stamp.producer_id = stream->producer_id;
    stamp.producer_epoch = (int16_t)stream->producer_epoch;
    stamp.base_sequence = (int32_t)((number * ck->args.batch_records) & 0x7fffffffu);
    if (record_builder_finish(&builder, &stamp, NULL, &batch->bytes, &batch->size) != 0) {
        abort();
    }
}

static void send_batch(struct checker *ck, struct ck_conn *conn, struct ck_lane *lane, uint64_t number)
{
    struct ck_batch *batch = &lane->window[number % LANE_WINDOW];
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition part = CAIRN__NATIVE__PRODUCE_PARTITION__INIT;
    Cairn__Native__ProducePartition *parts[1] = {&part};
    struct ck_request request = {
        .done = produced, .owner = lane, .number = number, .partition = lane->partition};

    part.topic_id.data = ck->topic_id.bytes;
    part.topic_id.len = sizeof ck->topic_id.bytes;
    part.partition = lane->partition;
    part.size = (uint32_t)batch->size;
    m.partitions = parts;
    m.n_partitions = 1;
    m.timeout_ms = NODE_TIMEOUT_MS;
    batch->state = BATCH_SENT;
    conn_request(conn, CALL_PRODUCE, &m.base, batch->bytes, batch->size, &request);
}

static bool in_flight(const struct ck_lane *lane)
{
    for (uint64_t n = lane->first; n < lane->next; n++) {
        if (lane->window[n % LANE_WINDOW].state == BATCH_SENT) {
            return true;
        }
    }
    return false;
}

/* Everything sent is answered: send again, in order, what is not acknowledged. What came behind a failed batch may well be
 * out of order; the oldest may not. */
static void recover(struct checker *ck, struct ck_conn *conn, struct ck_lane *lane)
{
    int error = lane->first < lane->next ? lane->window[lane->first % LANE_WINDOW].error : 0;

    if (error != 0 && !err_retriable(error)) {
        violation(ck, lane->partition, -1, "producer %u sequence %llu, next in its order, was refused: %s",
                  lane->stream, (unsigned long long)(lane->first * ck->args.batch_records), err_name(error));
    }
    for (uint64_t n = lane->first; n < lane->next; n++) {
        if (lane->window[n % LANE_WINDOW].state == BATCH_FAILED) {
            send_batch(ck, conn, lane, n);
            ck->stats.resent++;
        }
    }
    lane->recovering = false;
}

static void grow_ledger(struct ck_lane *lane)
{
    uint64_t capacity = lane->offsets_capacity == 0 ? 1024 : lane->offsets_capacity * 2;
    int64_t *offsets;
    if (lane->next < lane->offsets_capacity) {
        return;
    }
    offsets = realloc(lane->offsets, capacity * sizeof *offsets);
    if (offsets == NULL) {
        abort();
    }
    for (uint64_t i = lane->offsets_capacity; i < capacity; i++) {
        offsets[i] = -1;
    }
    lane->offsets = offsets;
    lane->offsets_capacity = capacity;
}

static void lane_tick(struct checker *ck, uint32_t index)
{
    struct ck_lane *lane = &ck->lanes[index];
    int leader = meta_leader(ck, lane->partition);
    struct ck_conn *conn;

    if (leader < 0) {
        meta_want(ck);
        return;
    }
    if (lane->recovering ? in_flight(lane) || ck->now_us < lane->retry_us
                         : lane->next - lane->first >= LANE_WINDOW || lane->next >= produce_offered(ck, index)) {
        return;
    }
    conn = conn_to(ck, (int)lane->stream, (uint32_t)leader);
    if (conn == NULL) {
        meta_want(ck);
        return;
    }
    if (lane->recovering) {
        recover(ck, conn, lane);
        return;
    }
    while (lane->next - lane->first < LANE_WINDOW && lane->next < produce_offered(ck, index)) {
        grow_ledger(lane);
        build(ck, lane, index, lane->next, &lane->window[lane->next % LANE_WINDOW]);
        send_batch(ck, conn, lane, lane->next);
        lane->next++;
    }
}

void produce_tick(struct checker *ck)
{
    bool ready = true;
    for (uint32_t i = 0; i < ck->args.streams; i++) {
        if (ck->streams[i].producer_id < 0) {
            ask_id(ck, i);
            ready = false;
        }
    }
    if (!ready || ck->load_begin_us == 0) {
        return;
    }
    for (uint32_t i = 0; i < ck->n_lanes; i++) {
        lane_tick(ck, i);
    }
}
