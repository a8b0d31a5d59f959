/* The front door for Kafka's clients: every API in every version that is spoken, and what each says by which code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/api_versions.h"
#include "proto/kafka/messages/create_partitions.h"
#include "proto/kafka/messages/create_topics.h"
#include "proto/kafka/messages/delete_records.h"
#include "proto/kafka/messages/delete_topics.h"
#include "proto/kafka/messages/describe_configs.h"
#include "proto/kafka/messages/describe_log_dirs.h"
#include "proto/kafka/messages/describe_producers.h"
#include "proto/kafka/messages/elect_leaders.h"
#include "proto/kafka/messages/fetch.h"
#include "proto/kafka/messages/incremental_alter_configs.h"
#include "proto/kafka/messages/init_producer_id.h"
#include "proto/kafka/messages/list_offsets.h"
#include "proto/kafka/messages/metadata.h"
#include "proto/kafka/messages/offset_for_leader_epoch.h"
#include "proto/kafka/messages/produce.h"
#include "proto/record/record_batch.h"
#include "tests/unit/node/kafka_door.h"

#define NEWEST INT16_MAX
#define BATCH_ROOM 4096

static struct door d;
static struct kafka_door k;
static struct uuid topic;

static int16_t version_of(int16_t key, int16_t version)
{
    const struct kafka_api *api = kafka_api_find(key);
    return version > api->version_max ? api->version_max : version;
}

static int setup(void **state)
{
    door_defaults(&d);
    d.shards = 2;
    door_open(&d, 1);
    assert_int_equal(door_create_topic(&d, "t", 2, 1, &topic), 0);
    kafka_door_open(&k, &d, 1);
    return 0;
}

static int teardown(void **state)
{
    kafka_door_close(&k);
    door_close(&d);
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

static struct kafka_produce_response_partition produce(int16_t version, const char *name, int32_t partition, int16_t acks,
                                                       const void *records, size_t size)
{
    static struct kafka_produce_response r;
    struct kafka_produce_request m;
    struct kafka_produce_request_topic t;
    struct kafka_produce_request_partition p;

    kafka_produce_request_init(&m);
    kafka_produce_request_topic_init(&t);
    kafka_produce_request_partition_init(&p);
    p.index = partition;
    p.records = (struct kafka_bytes){records, records == NULL ? -1 : (int32_t)size};
    t.name = kafka_string(name);
    t.partition_data = &p;
    t.partition_data_count = 1;
    m.acks = acks;
    m.timeout_ms = 10000;
    m.topic_data = &t;
    m.topic_data_count = 1;
    version = version_of(KAFKA_API_PRODUCE, version);
    if (acks == 0) {
        kafka_door_send(&k, KAFKA_API_PRODUCE, version, &m);
        return (struct kafka_produce_response_partition){0};
    }
    kafka_door_ask(&k, KAFKA_API_PRODUCE, version, &m, &r);
    assert_int_equal(r.responses_count, 1);
    assert_int_equal(r.responses[0].partition_responses_count, 1);
    assert_int_equal(r.responses[0].partition_responses[0].index, partition);
    return r.responses[0].partition_responses[0];
}

static int64_t produce_one(int32_t partition, size_t size, int64_t timestamp)
{
    uint8_t batch[BATCH_ROOM];
    size_t length = door_batch(batch, sizeof batch, -1, 0, 0, size, timestamp);
    struct kafka_produce_response_partition p = produce(NEWEST, "t", partition, -1, batch, length);
    assert_int_equal(p.error_code, 0);
    return p.base_offset;
}

struct fetch {
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch;
    int32_t max_wait_ms, min_bytes, max_bytes, part_max_bytes;
    int8_t isolation_level;
};

static struct kafka_fetch_response_partition fetch_as(int16_t version, const struct fetch *f, const char *name,
                                                      const struct uuid *id)
{
    static struct kafka_fetch_response r;
    struct kafka_fetch_request m;
    struct kafka_fetch_request_topic t;
    struct kafka_fetch_request_partition p;

    kafka_fetch_request_init(&m);
    kafka_fetch_request_topic_init(&t);
    kafka_fetch_request_partition_init(&p);
    p.partition = f->partition;
    p.fetch_offset = f->offset;
    p.current_leader_epoch = f->leader_epoch;
    p.partition_max_bytes = f->part_max_bytes == 0 ? 1 << 20 : f->part_max_bytes;
    version = version_of(KAFKA_API_FETCH, version);
    t.topic = kafka_string(name);
    t.topic_id = *id;
    t.partitions = &p;
    t.partitions_count = 1;
    m.max_wait_ms = f->max_wait_ms;
    m.min_bytes = f->min_bytes;
    m.max_bytes = f->max_bytes == 0 ? 1 << 20 : f->max_bytes;
    m.isolation_level = f->isolation_level;
    m.topics = &t;
    m.topics_count = 1;
    kafka_door_ask(&k, KAFKA_API_FETCH, version, &m, &r);
    assert_int_equal(r.error_code, 0);
    assert_int_equal(r.session_id, 0);
    assert_int_equal(r.responses_count, 1);
    return r.responses[0].partitions[0];
}

static struct kafka_fetch_response_partition fetch(const struct fetch *f)
{
    return fetch_as(NEWEST, f, "t", &topic);
}

static struct kafka_list_offsets_response_partition list_offset(int16_t version, int32_t partition, int64_t timestamp)
{
    static struct kafka_list_offsets_response r;
    struct kafka_list_offsets_request m;
    struct kafka_list_offsets_request_topic t;
    struct kafka_list_offsets_request_partition p;

    kafka_list_offsets_request_init(&m);
    kafka_list_offsets_request_topic_init(&t);
    kafka_list_offsets_request_partition_init(&p);
    p.partition_index = partition;
    p.timestamp = timestamp;
    t.name = kafka_string("t");
    t.partitions = &p;
    t.partitions_count = 1;
    m.topics = &t;
    m.topics_count = 1;
    kafka_door_ask(&k, KAFKA_API_LIST_OFFSETS, version_of(KAFKA_API_LIST_OFFSETS, version), &m, &r);
    return r.topics[0].partitions[0];
}

static struct kafka_metadata_response_topic metadata(int16_t version, const char *name, bool create)
{
    static struct kafka_metadata_response r;
    struct kafka_metadata_request m;
    struct kafka_metadata_request_topic t;

    kafka_metadata_request_init(&m);
    kafka_metadata_request_topic_init(&t);
    t.name = kafka_string(name);
    m.topics = &t;
    m.topics_count = 1;
    if (version >= 4) {
        m.allow_auto_topic_creation = create;
    }
    kafka_door_ask(&k, KAFKA_API_METADATA, version_of(KAFKA_API_METADATA, version), &m, &r);
    assert_int_equal(r.brokers_count, 1);
    assert_int_equal(r.brokers[0].node_id, 1);
    assert_int_equal(r.topics_count, 1);
    return r.topics[0];
}

/* ---- all of them -------------------------------------------------------------------------------------------------------- */

/* Requests that ask for nothing: each has an answer that its version can say. */
static void each_api_answers_in_each_version(void **state)
{
    for (size_t i = 0; i < kafka_handlers_count; i++) {
        const struct kafka_api *api = kafka_api_find(kafka_handlers[i].key);
        for (int16_t version = api->version_min; version <= api->version_max; version++) {
            void *request = calloc(1, api->request->body->size);
            void *response = calloc(1, api->response->body->size);
            kafka_struct_init(api->request->body, request);
            if (api->key == KAFKA_API_PRODUCE) {
                ((struct kafka_produce_request *)request)->acks = -1;
            }
            kafka_door_ask(&k, api->key, version, request, response);
            k.session.bare_tokens = false; /* SaslHandshake 0 */
            free(request);
            free(response);
        }
    }
    assert_int_equal(kafka_handlers_count, kafka_apis_count); /* all that have a schema */
    for (size_t i = 1; i < kafka_handlers_count; i++) {
        assert_true(kafka_handlers[i - 1].key < kafka_handlers[i].key);
    }
}

static void an_unknown_version_of_api_versions_is_answered_in_version_0(void **state)
{
    struct kafka_api_versions_response r;
    struct kafka_frame frame = {.buf = buf_new(NULL, 64)};
    struct writer w;
    struct cursor c;
    struct service_answer *a;
    char errmsg[ERRMSG_SIZE];

    writer_init(&w, frame.buf->data, 64);
    writer_i16_be(&w, KAFKA_API_API_VERSIONS);
    writer_i16_be(&w, 77);
    writer_i32_be(&w, 4711);
    writer_i16_be(&w, -1);
    frame.data = frame.buf->data;
    frame.size = (uint32_t)w.position;
    assert_int_equal(kafka_session_receive(&k.session, &frame, errmsg), 0);
    a = list_entry(list_pop_front(&k.answers), struct service_answer, link);
    cursor_init(&c, a->head->data, a->bytes);
    assert_int_equal(cursor_i32_be(&c), a->bytes - 4);
    assert_int_equal(cursor_i32_be(&c), 4711);
    assert_int_equal(kafka_api_versions_response_decode(&c, 0, &k.arena, &r), 0);
    assert_int_equal(cursor_left(&c), 0);
    assert_int_equal(r.error_code, KAFKA_ERROR_UNSUPPORTED_VERSION);
    assert_int_equal(r.api_keys_count, kafka_handlers_count);
    service_answer_release(a);
}

static int receive(int16_t key, int16_t version, const char *bytes, size_t size, char *errmsg)
{
    struct kafka_frame frame = {.buf = buf_new(NULL, 256)};
    struct writer w;
    writer_init(&w, frame.buf->data, 256);
    writer_i16_be(&w, key);
    writer_i16_be(&w, version);
    writer_i32_be(&w, 1);
    writer_i16_be(&w, -1);
    writer_bytes(&w, bytes, size);
    frame.data = frame.buf->data;
    frame.size = (uint32_t)w.position;
    return kafka_session_receive(&k.session, &frame, errmsg);
}

static void what_is_no_request_of_ours_closes_the_connection_and_says_why(void **state)
{
    char errmsg[ERRMSG_SIZE];
    assert_int_equal(receive(999, 0, "", 0, errmsg), ERR_MALFORMED);
    assert_non_null(strstr(errmsg, "999"));
    assert_int_equal(receive(KAFKA_API_FETCH, 99, "", 0, errmsg), ERR_MALFORMED);
    assert_non_null(strstr(errmsg, "Fetch version 99"));
    assert_int_equal(receive(KAFKA_API_METADATA, 1, "\0\0\0\5x", 5, errmsg), ERR_MALFORMED);
    assert_non_null(strstr(errmsg, "malformed request Metadata"));
    assert_int_equal(receive(4, 0, "", 0, errmsg), ERR_MALFORMED); /* LeaderAndIsr: between brokers */
    assert_int_equal(k.session.requests, 0);
}

static void a_stream_that_is_no_kafka_is_named(void **state)
{
    static const struct {
        const char *bytes;
        const char *named;
    } cases[] = {
        {"\x16\x03\x01\x02", "TLS"}, {"GET /", "HTTP"}, {"POST", "HTTP"}, {"CRN1", "Cairn's own"},
        {"\x7f\xff\xff\xff", "2147483647 bytes"}, {"\0\0\0\3", "3 bytes"}, {"\xff\xff\xff\xff", "-1 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kafka_reader r;
        struct kafka_frame frame;
        char reason[ERRMSG_SIZE];
        uint8_t *base;
        size_t length;
        kafka_reader_init(&r, NULL, KAFKA_REQUEST_MAX_BYTES);
        assert_int_equal(kafka_reader_alloc(&r, &base, &length), 0);
        memcpy(base, cases[i].bytes, 4);
        kafka_reader_commit(&r, 3);
        assert_false(kafka_reader_next(&r, &frame));
        assert_int_equal(kafka_reader_error(&r, reason), 0);
        kafka_reader_commit(&r, 1);
        assert_false(kafka_reader_next(&r, &frame));
        assert_int_not_equal(kafka_reader_error(&r, reason), 0);
        assert_non_null(strstr(reason, cases[i].named));
        kafka_reader_close(&r);
    }
}

/* However the bytes arrive, the same frames come out, and they stay good while others are read. */
static void frames_come_out_however_the_bytes_arrive(void **state)
{
    static const uint32_t sizes[] = {8, 9, 100, 70000, 8, 300000, 5000, 131072, 131068, 20};
    static const size_t steps[] = {1, 3, 1000, 70001, 1u << 20};
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        struct kafka_reader r;
        struct kafka_frame frames[10];
        uint8_t *stream = malloc(1u << 20);
        size_t total = 0;
        size_t at = 0;
        unsigned n = 0;
        for (size_t i = 0; i < 10; i++) {
            uint8_t prefix[4] = {0, (uint8_t)(sizes[i] >> 16), (uint8_t)(sizes[i] >> 8), (uint8_t)sizes[i]};
            memcpy(stream + total, prefix, 4);
            memset(stream + total + 4, (int)i + 1, sizes[i]);
            total += 4 + sizes[i];
        }
        kafka_reader_init(&r, NULL, KAFKA_REQUEST_MAX_BYTES);
        while (at < total) {
            uint8_t *base;
            size_t length;
            while (n < 10 && kafka_reader_next(&r, &frames[n])) {
                n++;
            }
            assert_int_equal(kafka_reader_alloc(&r, &base, &length), 0);
            length = length < steps[s] ? length : steps[s];
            length = length < total - at ? length : total - at;
            memcpy(base, stream + at, length);
            kafka_reader_commit(&r, length);
            at += length;
        }
        while (n < 10 && kafka_reader_next(&r, &frames[n])) {
            n++;
        }
        assert_int_equal(n, 10);
        assert_false(kafka_reader_partial(&r));
        for (size_t i = 0; i < 10; i++) {
            assert_int_equal(frames[i].size, sizes[i]);
            assert_int_equal(frames[i].data[0], i + 1);
            assert_int_equal(frames[i].data[sizes[i] - 1], i + 1);
            buf_release(frames[i].buf);
        }
        kafka_reader_close(&r);
        free(stream);
    }
}

/* ---- produce and fetch ---------------------------------------------------------------------------------------------------- */

static void what_is_produced_is_fetched_byte_by_byte_in_each_version(void **state)
{
    int64_t offset = 0;
    for (int16_t version = 3; version <= kafka_api_find(KAFKA_API_PRODUCE)->version_max; version++, offset++) {
        uint8_t batch[BATCH_ROOM];
        size_t length = door_batch(batch, sizeof batch, -1, 0, 0, 100 + (size_t)version, 1000 + version);
        struct kafka_produce_response_partition p = produce(version, "t", 0, version % 2 == 0 ? 1 : -1, batch, length);
        assert_int_equal(p.error_code, 0);
        assert_int_equal(p.base_offset, offset);
        assert_int_equal(p.log_append_time_ms, -1);
        for (int16_t f = 4; f <= kafka_api_find(KAFKA_API_FETCH)->version_max; f++) {
            struct fetch at = {.offset = offset, .leader_epoch = -1, .isolation_level = f % 2};
            struct kafka_fetch_response_partition got = fetch_as(f, &at, "t", &topic);
            assert_int_equal(got.error_code, 0);
            assert_int_equal(got.high_watermark, offset + 1);
            assert_int_equal(got.last_stable_offset, offset + 1);
            assert_int_equal(got.aborted_transactions_count, f % 2 == 0 ? -1 : 0);
            assert_int_equal(got.records.length, length);
            /* base offset and leader epoch are ours, all else is the producer's */
            assert_memory_equal(got.records.data + 16, batch + 16, length - 16);
            assert_int_equal(got.records.data[7], offset);
        }
    }
}

static void produce_says_what_is_wrong(void **state)
{
    uint8_t batch[BATCH_ROOM];
    uint8_t other[BATCH_ROOM];
    size_t length = door_batch(batch, sizeof batch, -1, 0, 0, 100, 1000);

    assert_int_equal(produce(2, "t", 0, -1, batch, length).error_code, KAFKA_ERROR_UNSUPPORTED_VERSION);
    assert_int_equal(produce(0, "t", 0, 1, batch, length).error_code, KAFKA_ERROR_UNSUPPORTED_VERSION);
    assert_int_equal(produce(NEWEST, "t", 0, 2, batch, length).error_code, KAFKA_ERROR_INVALID_REQUIRED_ACKS);
    assert_int_equal(produce(NEWEST, "nope", 0, -1, batch, length).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(produce(NEWEST, "t", 9, -1, batch, length).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(produce(NEWEST, "t", -1, -1, batch, length).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(produce(NEWEST, "t", 0, -1, NULL, 0).error_code, KAFKA_ERROR_INVALID_RECORD);
    assert_int_equal(produce(NEWEST, "t", 0, -1, batch, 0).error_code, KAFKA_ERROR_INVALID_RECORD);
    assert_int_equal(produce(NEWEST, "t", 0, -1, batch, length - 1).error_code, KAFKA_ERROR_INVALID_RECORD);
    memcpy(other, batch, length);
    memcpy(other + length, batch, length);
    assert_int_equal(produce(NEWEST, "t", 0, -1, other, 2 * length).error_code, KAFKA_ERROR_INVALID_RECORD);
    memcpy(other, batch, length);
    other[length - 1] ^= 1;
    assert_int_equal(produce(NEWEST, "t", 0, -1, other, length).error_code, KAFKA_ERROR_CORRUPT_MESSAGE);
    memcpy(other, batch, length);
    other[22] |= 4; /* zstd */
    assert_int_equal(produce(6, "t", 0, -1, other, length).error_code, KAFKA_ERROR_UNSUPPORTED_COMPRESSION_TYPE);
    memcpy(other, batch, length);
    other[16] = 1; /* magic */
    assert_int_equal(produce(NEWEST, "t", 0, -1, other, length).error_code, KAFKA_ERROR_INVALID_RECORD);
    memcpy(other, batch, length);
    other[22] |= 0x10; /* transactional */
    assert_int_equal(produce(NEWEST, "t", 0, -1, other, length).error_code, KAFKA_ERROR_INVALID_TXN_STATE);
    assert_int_equal(list_offset(NEWEST, 0, -1).offset, 0); /* nothing of it was taken */
}

static void acks_0_has_no_answer_and_an_error_hangs_up(void **state)
{
    uint8_t batch[BATCH_ROOM];
    size_t length = door_batch(batch, sizeof batch, -1, 0, 0, 100, 1000);

    (void)produce(NEWEST, "t", 0, 0, batch, length);
    /* behind it, the next answer is the next one's */
    assert_int_equal(produce(NEWEST, "t", 0, -1, batch, length).base_offset, 1);
    assert_false(k.ended);
    (void)produce(NEWEST, "nope", 0, 0, batch, length);
    door_run(&d, 100);
    assert_true(k.ended);
}

static void fetch_says_what_is_wrong(void **state)
{
    struct uuid unknown = topic;
    struct kafka_fetch_response_partition got;
    int32_t epoch;

    unknown.bytes[3] ^= 1;
    assert_int_equal(produce_one(0, 100, 1000), 0);
    epoch = list_offset(NEWEST, 0, -1).leader_epoch;
    assert_true(epoch > 0);
    assert_int_equal(fetch_as(13, &(struct fetch){.leader_epoch = -1}, "t", &unknown).error_code,
                     KAFKA_ERROR_UNKNOWN_TOPIC_ID);
    assert_int_equal(fetch_as(12, &(struct fetch){.leader_epoch = -1}, "nope", &topic).error_code,
                     KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(fetch(&(struct fetch){.partition = 7, .leader_epoch = -1}).error_code,
                     KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(fetch(&(struct fetch){.offset = -5, .leader_epoch = -1}).error_code,
                     KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    got = fetch(&(struct fetch){.offset = 2, .leader_epoch = -1});
    assert_int_equal(got.error_code, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(got.records.length, 0);
    got = fetch(&(struct fetch){.leader_epoch = epoch - 1});
    assert_int_equal(got.error_code, KAFKA_ERROR_FENCED_LEADER_EPOCH);
    assert_int_equal(got.records.length, 0);
    assert_int_equal(fetch(&(struct fetch){.leader_epoch = epoch + 1}).error_code, KAFKA_ERROR_UNKNOWN_LEADER_EPOCH);
    got = fetch(&(struct fetch){.leader_epoch = epoch});
    assert_int_equal(got.error_code, 0);
    assert_true(got.records.length > 100);
}

static void the_first_batch_comes_whatever_the_limits(void **state)
{
    struct kafka_fetch_response_partition got;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(produce_one(0, 1000, 1000), i);
    }
    got = fetch(&(struct fetch){.leader_epoch = -1, .max_bytes = 1, .part_max_bytes = 1, .min_bytes = 1});
    assert_int_equal(got.error_code, 0);
    assert_in_range(got.records.length, 1000, 1999);
    got = fetch(&(struct fetch){.leader_epoch = -1});
    assert_in_range(got.records.length, 3000, 4000);
}

/* ---- order ------------------------------------------------------------------------------------------------------------------ */

static void answers_leave_in_the_order_of_requests(void **state)
{
    struct kafka_fetch_request f;
    struct kafka_fetch_request_topic t;
    struct kafka_fetch_request_partition p;
    struct kafka_fetch_response fr;
    struct kafka_metadata_request m;
    struct kafka_metadata_response mr;
    uint64_t before_ns = sim_world_now(d.world);

    kafka_fetch_request_init(&f);
    kafka_fetch_request_topic_init(&t);
    kafka_fetch_request_partition_init(&p);
    p.partition_max_bytes = 1000;
    t.topic_id = topic;
    t.partitions = &p;
    t.partitions_count = 1;
    f.topics = &t;
    f.topics_count = 1;
    f.max_wait_ms = 3000;
    f.min_bytes = 1;
    kafka_metadata_request_init(&m);
    m.topics_count = -1;
    kafka_door_send(&k, KAFKA_API_FETCH, 17, &f);
    kafka_door_send(&k, KAFKA_API_METADATA, 12, &m); /* could be answered at once */
    door_run(&d, 100);
    assert_true(list_empty(&k.answers));
    assert_true(kafka_door_wait(&k, KAFKA_API_FETCH, 17, &fr, 10000));
    assert_true(sim_world_now(d.world) - before_ns >= 2900000000ull);
    assert_int_equal(fr.responses[0].partitions[0].records.length, 0);
    assert_true(kafka_door_wait(&k, KAFKA_API_METADATA, 12, &mr, 10));
    assert_int_equal(mr.topics_count, 1);
}

static void send_fetch(uint32_t partition, int32_t max_wait_ms)
{
    struct kafka_fetch_request f;
    struct kafka_fetch_request_topic t;
    struct kafka_fetch_request_partition p;

    kafka_fetch_request_init(&f);
    kafka_fetch_request_topic_init(&t);
    kafka_fetch_request_partition_init(&p);
    p.partition = (int32_t)partition;
    p.partition_max_bytes = 64 << 20;
    t.topic_id = topic;
    t.partitions = &p;
    t.partitions_count = 1;
    f.topics = &t;
    f.topics_count = 1;
    f.max_wait_ms = max_wait_ms;
    f.max_bytes = 64 << 20;
    f.min_bytes = 1;
    kafka_door_send(&k, KAFKA_API_FETCH, 17, &f);
}

/* Who asks for much behind a request that parks gets it in order, and pins no more than the limit meanwhile. */
static void answers_that_wait_for_a_slow_one_are_limited(void **state)
{
    uint8_t *batch = malloc(1 << 20);
    struct kafka_fetch_response r;
    unsigned with_records = 0;

    for (int i = 0; i < 6; i++) {
        size_t length = door_batch(batch, 1 << 20, -1, 0, 0, 1000000, 1000);
        assert_int_equal(produce(NEWEST, "t", 0, -1, batch, length).error_code, 0);
    }
    free(batch);
    send_fetch(1, 5000); /* of an empty partition: parks */
    for (int i = 0; i < 8 && !k.session.is_held; i++) {
        send_fetch(0, 0);
        door_run(&d, 200);
    }
    assert_true(k.session.is_held);
    assert_true(k.session.waiting_bytes > KAFKA_OUT_MAX_BYTES);
    assert_true(k.session.waiting_bytes < 2 * KAFKA_OUT_MAX_BYTES);
    assert_true(list_empty(&k.answers));
    while (k.session.requests > 0 || k.session.is_held || !list_empty(&k.answers)) {
        assert_true(kafka_door_wait(&k, KAFKA_API_FETCH, 17, &r, 10000));
        with_records += r.responses[0].partitions[0].records.length > 5000000;
    }
    assert_in_range(with_records, 3, 7);
    assert_int_equal(k.session.waiting_bytes, 0);
}

static void create(int16_t version, const char *name, int32_t partitions, int16_t replication, int16_t expected)
{
    struct kafka_create_topics_request m;
    struct kafka_create_topics_request_topic t;
    struct kafka_create_topics_response r;

    kafka_create_topics_request_init(&m);
    kafka_create_topics_request_topic_init(&t);
    t.name = kafka_string(name);
    t.num_partitions = partitions;
    t.replication_factor = replication;
    m.topics = &t;
    m.topics_count = 1;
    kafka_door_ask(&k, KAFKA_API_CREATE_TOPICS, version_of(KAFKA_API_CREATE_TOPICS, version), &m, &r);
    assert_int_equal(r.topics_count, 1);
    assert_int_equal(r.topics[0].error_code, expected);
    if (version == NEWEST && expected == 0) {
        assert_int_equal(r.topics[0].num_partitions, partitions == -1 ? 1 : partitions);
        assert_int_equal(r.topics[0].replication_factor, 1);
        assert_true(r.topics[0].configs_count > 20);
    }
}

static void what_comes_behind_a_change_sees_it(void **state)
{
    struct kafka_create_topics_request m;
    struct kafka_create_topics_request_topic t;
    struct kafka_create_topics_response r;
    struct kafka_metadata_request q;
    struct kafka_metadata_response mr;

    kafka_create_topics_request_init(&m);
    kafka_create_topics_request_topic_init(&t);
    t.name = kafka_string("fresh");
    t.num_partitions = 3;
    t.replication_factor = 1;
    m.topics = &t;
    m.topics_count = 1;
    kafka_metadata_request_init(&q);
    q.topics_count = -1;
    kafka_door_send(&k, KAFKA_API_CREATE_TOPICS, 7, &m);
    kafka_door_send(&k, KAFKA_API_METADATA, 12, &q);
    assert_true(k.session.is_held);
    assert_true(kafka_door_wait(&k, KAFKA_API_CREATE_TOPICS, 7, &r, 30000));
    assert_int_equal(r.topics[0].error_code, 0);
    assert_true(kafka_door_wait(&k, KAFKA_API_METADATA, 12, &mr, 30000));
    assert_int_equal(mr.topics_count, 2);
}

/* ---- metadata and topics ------------------------------------------------------------------------------------------------------- */

static void metadata_knows_and_creates(void **state)
{
    for (int16_t version = 0; version <= kafka_api_find(KAFKA_API_METADATA)->version_max; version++) {
        struct kafka_metadata_response_topic t = metadata(version, "t", false);
        assert_int_equal(t.error_code, 0);
        assert_int_equal(t.partitions_count, 2);
        assert_int_equal(t.partitions[1].leader_id, 1);
        assert_int_equal(t.partitions[1].isr_nodes_count, 1);
        assert_int_equal(metadata(version, "absent", false).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        assert_int_equal(metadata(version, "a b", true).error_code, KAFKA_ERROR_INVALID_TOPIC);
    }
    assert_int_equal(metadata(12, "wanted", true).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION); /* it is off */
    k.settings.auto_create_topics = true;
    assert_int_equal(metadata(12, "wanted", false).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(metadata(12, "wanted", true).error_code, 0);
    assert_int_equal(metadata(12, "wanted", false).partitions_count, 1);
    assert_int_equal(metadata(1, "older", false).partitions_count, 1); /* versions before 4 always want it */
}

static int16_t more_partitions(const char *name, int32_t count)
{
    struct kafka_create_partitions_request m;
    struct kafka_create_partitions_request_topic t;
    struct kafka_create_partitions_response r;

    kafka_create_partitions_request_init(&m);
    kafka_create_partitions_request_topic_init(&t);
    t.name = kafka_string(name);
    t.count = count;
    t.assignments_count = -1;
    m.topics = &t;
    m.topics_count = 1;
    m.timeout_ms = 10000;
    kafka_door_ask(&k, KAFKA_API_CREATE_PARTITIONS, 3, &m, &r);
    assert_int_equal(r.results_count, 1);
    return r.results[0].error_code;
}

static int16_t delete_topic(int16_t version, const char *name)
{
    struct kafka_delete_topics_request m;
    struct kafka_delete_topics_request_topic t;
    struct kafka_delete_topics_response r;
    struct kafka_string names[1] = {kafka_string(name)};

    kafka_delete_topics_request_init(&m);
    kafka_delete_topics_request_topic_init(&t);
    t.name = names[0];
    m.timeout_ms = 10000;
    if (version >= 6) {
        m.topics = &t;
        m.topics_count = 1;
    } else {
        m.topic_names = names;
        m.topic_names_count = 1;
    }
    kafka_door_ask(&k, KAFKA_API_DELETE_TOPICS, version, &m, &r);
    assert_int_equal(r.responses_count, 1);
    return r.responses[0].error_code;
}

static void topics_are_created_grown_and_deleted(void **state)
{
    create(NEWEST, "a", 2, 1, 0);
    create(2, "b", 1, 1, 0);
    create(NEWEST, "c", -1, -1, 0);
    create(NEWEST, "a", 2, 1, KAFKA_ERROR_TOPIC_ALREADY_EXISTS);
    create(4, "d", 0, 1, KAFKA_ERROR_INVALID_PARTITIONS);
    create(4, "d", 1, 2, KAFKA_ERROR_INVALID_REPLICATION_FACTOR);
    create(4, "d", 1, 0, KAFKA_ERROR_INVALID_REPLICATION_FACTOR);
    create(4, "d/", 1, 1, KAFKA_ERROR_INVALID_TOPIC);
    create(4, "", 1, 1, KAFKA_ERROR_INVALID_TOPIC);
    assert_int_equal(more_partitions("a", 4), 0);
    assert_int_equal(metadata(12, "a", false).partitions_count, 4);
    assert_int_equal(metadata(12, "a", false).partitions[3].leader_id, 1);
    assert_int_equal(more_partitions("a", 4), KAFKA_ERROR_INVALID_PARTITIONS);
    assert_int_equal(more_partitions("a", 3), KAFKA_ERROR_INVALID_PARTITIONS);
    assert_int_equal(more_partitions("nope", 3), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(delete_topic(6, "a"), 0);
    assert_int_equal(delete_topic(1, "b"), 0);
    assert_int_equal(delete_topic(6, "a"), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(delete_topic(6, ""), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
}

/* ---- offsets ------------------------------------------------------------------------------------------------------------------- */

static void offsets_by_time_end_start_and_newest(void **state)
{
    for (int16_t version = 1; version <= kafka_api_find(KAFKA_API_LIST_OFFSETS)->version_max; version++) {
        assert_int_equal(list_offset(version, 1, -1).offset, 0);
        assert_int_equal(list_offset(version, 1, 5).offset, -1);
        assert_int_equal(list_offset(version, 1, -3).offset, -1);
    }
    produce_one(0, 10, 1000);
    produce_one(0, 10, 3000);
    produce_one(0, 10, 2000);
    for (int16_t version = 1; version <= kafka_api_find(KAFKA_API_LIST_OFFSETS)->version_max; version++) {
        assert_int_equal(list_offset(version, 0, -1).offset, 3);
        assert_int_equal(list_offset(version, 0, -2).offset, 0);
        assert_int_equal(list_offset(version, 0, -3).offset, 1);
        assert_int_equal(list_offset(version, 0, -3).timestamp, 3000);
        assert_int_equal(list_offset(version, 0, 1500).offset, 1);
        assert_int_equal(list_offset(version, 0, 3001).offset, -1);
        assert_int_equal(list_offset(version, 9, -1).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    }
}

static struct kafka_offset_for_leader_epoch_response_partition epoch_end(int32_t epoch, int32_t current)
{
    static struct kafka_offset_for_leader_epoch_response r;
    struct kafka_offset_for_leader_epoch_request m;
    struct kafka_offset_for_leader_epoch_request_topic t;
    struct kafka_offset_for_leader_epoch_request_partition p;

    kafka_offset_for_leader_epoch_request_init(&m);
    kafka_offset_for_leader_epoch_request_topic_init(&t);
    kafka_offset_for_leader_epoch_request_partition_init(&p);
    p.leader_epoch = epoch;
    p.current_leader_epoch = current;
    t.topic = kafka_string("t");
    t.partitions = &p;
    t.partitions_count = 1;
    m.topics = &t;
    m.topics_count = 1;
    kafka_door_ask(&k, KAFKA_API_OFFSET_FOR_LEADER_EPOCH, 4, &m, &r);
    return r.topics[0].partitions[0];
}

static int setup_three(void **state)
{
    door_defaults(&d);
    door_open(&d, 3);
    assert_int_equal(door_create_topic(&d, "t", 1, 3, &topic), 0);
    kafka_door_open(&k, &d, door_leader(&d, &topic, 0));
    return 0;
}

static void epochs_end_where_the_next_begins(void **state)
{
    uint8_t batch[BATCH_ROOM];
    size_t length = door_batch(batch, sizeof batch, -1, 0, 0, 10, 1000);
    unsigned old = k.at;
    int32_t first;
    int32_t second;

    produce_one(0, 10, 1000);
    produce_one(0, 10, 1000);
    first = list_offset(NEWEST, 0, -1).leader_epoch;
    kafka_door_close(&k);
    door_kill(&d, old);
    door_run(&d, 10000);
    kafka_door_open(&k, &d, door_leader(&d, &topic, 0));
    assert_int_not_equal(k.at, old);
    assert_int_equal(produce(NEWEST, "t", 0, -1, batch, length).base_offset, 2);
    second = list_offset(NEWEST, 0, -1).leader_epoch;
    assert_true(second > first);
    assert_int_equal(epoch_end(first, -1).end_offset, 2);
    assert_int_equal(epoch_end(first, -1).leader_epoch, first);
    assert_int_equal(epoch_end(second, -1).end_offset, 3);
    assert_int_equal(epoch_end(second + 1, -1).end_offset, -1);
    assert_int_equal(epoch_end(first, first).error_code, KAFKA_ERROR_FENCED_LEADER_EPOCH);
    assert_int_equal(epoch_end(first, second + 1).error_code, KAFKA_ERROR_UNKNOWN_LEADER_EPOCH);
}

static void who_is_asked_in_error_names_the_leader(void **state)
{
    unsigned leader = k.at;
    uint8_t batch[BATCH_ROOM];
    size_t length = door_batch(batch, sizeof batch, -1, 0, 0, 10, 1000);
    struct kafka_produce_response_partition p;
    struct kafka_fetch_response_partition f;

    kafka_door_close(&k);
    kafka_door_open(&k, &d, leader % 3 + 1);
    p = produce(NEWEST, "t", 0, -1, batch, length);
    assert_int_equal(p.error_code, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(p.current_leader.leader_id, leader);
    assert_int_equal(produce(3, "t", 0, -1, batch, length).error_code, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    f = fetch(&(struct fetch){.leader_epoch = -1});
    assert_int_equal(f.error_code, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(f.current_leader.leader_id, leader);
    for (int16_t version = 4; version <= 17; version++) {
        assert_int_equal(fetch_as(version, &(struct fetch){.leader_epoch = -1}, "t", &topic).error_code,
                         KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    }
    assert_int_equal(list_offset(NEWEST, 0, -1).error_code, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(epoch_end(1, -1).error_code, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
}

static struct kafka_delete_records_response_partition delete_records(int64_t offset)
{
    static struct kafka_delete_records_response r;
    struct kafka_delete_records_request m;
    struct kafka_delete_records_request_topic t;
    struct kafka_delete_records_request_partition p;

    kafka_delete_records_request_init(&m);
    kafka_delete_records_request_topic_init(&t);
    kafka_delete_records_request_partition_init(&p);
    p.offset = offset;
    t.name = kafka_string("t");
    t.partitions = &p;
    t.partitions_count = 1;
    m.topics = &t;
    m.topics_count = 1;
    kafka_door_ask(&k, KAFKA_API_DELETE_RECORDS, 2, &m, &r);
    return r.topics[0].partitions[0];
}

static void deleted_records_are_gone_also_after_a_restart(void **state)
{
    for (int i = 0; i < 5; i++) {
        produce_one(0, 10, 1000);
    }
    assert_int_equal(delete_records(6).error_code, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(delete_records(3).low_watermark, 3);
    assert_int_equal(delete_records(1).low_watermark, 3);
    assert_int_equal(fetch(&(struct fetch){.offset = 2, .leader_epoch = -1}).error_code, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(fetch(&(struct fetch){.offset = 3, .leader_epoch = -1}).log_start_offset, 3);
    kafka_door_close(&k);
    door_kill(&d, 1);
    door_start(&d, 1);
    assert_int_equal(door_leader(&d, &topic, 0), 1);
    door_run(&d, 5000);
    kafka_door_open(&k, &d, 1);
    assert_int_equal(list_offset(NEWEST, 0, -2).offset, 3);
    assert_int_equal(delete_records(-1).low_watermark, 5);
    assert_int_equal(fetch(&(struct fetch){.offset = 5, .leader_epoch = -1}).error_code, 0);
}

/* ---- the rest -------------------------------------------------------------------------------------------------------------------- */

static void producers_get_ids_and_epochs(void **state)
{
    struct kafka_init_producer_id_request m;
    struct kafka_init_producer_id_response r;
    int64_t id;

    kafka_init_producer_id_request_init(&m);
    m.transactional_id = kafka_string(NULL);
    kafka_door_ask(&k, KAFKA_API_INIT_PRODUCER_ID, 0, &m, &r);
    assert_int_equal(r.error_code, 0);
    id = r.producer_id;
    kafka_door_ask(&k, KAFKA_API_INIT_PRODUCER_ID, 5, &m, &r);
    assert_true(r.producer_id >= 0 && r.producer_id != id);
    m.producer_id = id;
    m.producer_epoch = 0;
    kafka_door_ask(&k, KAFKA_API_INIT_PRODUCER_ID, 4, &m, &r);
    assert_int_equal(r.producer_id, id);
    assert_int_equal(r.producer_epoch, 1);
    m.transactional_id = kafka_string("tx");
    kafka_door_ask(&k, KAFKA_API_INIT_PRODUCER_ID, 4, &m, &r);
    assert_int_equal(r.error_code, KAFKA_ERROR_UNSUPPORTED_VERSION);
}

static int16_t set_config(const char *name, const char *value, int8_t operation)
{
    struct kafka_incremental_alter_configs_request m;
    struct kafka_incremental_alter_configs_request_resource resource;
    struct kafka_incremental_alter_configs_request_config config;
    struct kafka_incremental_alter_configs_response r;

    kafka_incremental_alter_configs_request_init(&m);
    kafka_incremental_alter_configs_request_resource_init(&resource);
    kafka_incremental_alter_configs_request_config_init(&config);
    config.name = kafka_string(name);
    config.value = kafka_string(value);
    config.config_operation = operation;
    resource.resource_type = 2;
    resource.resource_name = kafka_string("t");
    resource.configs = &config;
    resource.configs_count = 1;
    m.resources = &resource;
    m.resources_count = 1;
    kafka_door_ask(&k, KAFKA_API_INCREMENTAL_ALTER_CONFIGS, 1, &m, &r);
    return r.responses[0].error_code;
}

static void assert_config(const char *name, const char *value, int8_t source)
{
    struct kafka_describe_configs_request m;
    struct kafka_describe_configs_request_resource resource;
    struct kafka_describe_configs_response r;
    struct kafka_string key = kafka_string(name);

    kafka_describe_configs_request_init(&m);
    kafka_describe_configs_request_resource_init(&resource);
    resource.resource_type = 2;
    resource.resource_name = kafka_string("t");
    resource.configuration_keys = &key;
    resource.configuration_keys_count = 1;
    m.include_synonyms = true;
    m.resources = &resource;
    m.resources_count = 1;
    kafka_door_ask(&k, KAFKA_API_DESCRIBE_CONFIGS, 4, &m, &r);
    assert_int_equal(r.results[0].error_code, 0);
    assert_int_equal(r.results[0].configs_count, 1);
    assert_int_equal(r.results[0].configs[0].value.length, strlen(value));
    assert_memory_equal(r.results[0].configs[0].value.data, value, strlen(value));
    assert_int_equal(r.results[0].configs[0].config_source, source);
    assert_int_equal(r.results[0].configs[0].synonyms_count, source == 5 ? 1 : 2);
}

static void configs_are_set_and_told(void **state)
{
    enum { SET, DELETE, APPEND, SUBTRACT };
    assert_config("retention.ms", "604800000", 5);
    assert_int_equal(set_config("retention.ms", "1000", SET), 0);
    assert_config("retention.ms", "1000", 1);
    assert_int_equal(set_config("retention.ms", NULL, DELETE), 0);
    assert_config("retention.ms", "604800000", 5);
    assert_int_equal(set_config("cleanup.policy", "compact", APPEND), 0);
    assert_config("cleanup.policy", "delete,compact", 1);
    assert_int_equal(set_config("cleanup.policy", "delete", SUBTRACT), 0);
    assert_config("cleanup.policy", "compact", 1);
    assert_int_equal(set_config("retention.ms", "5", APPEND), KAFKA_ERROR_INVALID_CONFIG);
    assert_int_equal(set_config("retention.ms", "often", SET), KAFKA_ERROR_INVALID_CONFIG);
    assert_int_equal(set_config("no.such", "1", SET), KAFKA_ERROR_INVALID_CONFIG);
    assert_int_equal(set_config("no.such", NULL, DELETE), KAFKA_ERROR_INVALID_CONFIG);
    assert_int_equal(set_config("unclean.leader.election.enable", "true", SET), KAFKA_ERROR_INVALID_CONFIG);
}

static void replicas_and_producers_are_described(void **state)
{
    struct kafka_describe_log_dirs_request m;
    struct kafka_describe_log_dirs_response r;
    struct kafka_describe_producers_request pm;
    struct kafka_describe_producers_request_topic pt;
    struct kafka_describe_producers_response pr;
    int32_t partition = 0;
    uint8_t batch[BATCH_ROOM];
    size_t length = door_batch(batch, sizeof batch, 4242, 7, 0, 100, 1000);

    assert_int_equal(produce(NEWEST, "t", 0, -1, batch, length).error_code, 0);
    kafka_describe_log_dirs_request_init(&m);
    m.topics_count = -1;
    kafka_door_ask(&k, KAFKA_API_DESCRIBE_LOG_DIRS, 4, &m, &r);
    assert_int_equal(r.results_count, 1);
    assert_int_equal(r.results[0].topics_count, 1);
    assert_int_equal(r.results[0].topics[0].partitions_count, 2);
    assert_int_equal(r.results[0].topics[0].partitions[0].partition_size, length);
    kafka_describe_producers_request_init(&pm);
    kafka_describe_producers_request_topic_init(&pt);
    pt.name = kafka_string("t");
    pt.partition_indexes = &partition;
    pt.partition_indexes_count = 1;
    pm.topics = &pt;
    pm.topics_count = 1;
    kafka_door_ask(&k, KAFKA_API_DESCRIBE_PRODUCERS, 0, &pm, &pr);
    assert_int_equal(pr.topics[0].partitions[0].active_producers_count, 1);
    assert_int_equal(pr.topics[0].partitions[0].active_producers[0].producer_id, 4242);
    assert_int_equal(pr.topics[0].partitions[0].active_producers[0].producer_epoch, 7);
    assert_int_equal(pr.topics[0].partitions[0].active_producers[0].last_sequence, 0);
}

static void a_preferred_leader_needs_no_election_and_none_is_unclean(void **state)
{
    struct kafka_elect_leaders_request m;
    struct kafka_elect_leaders_request_topic t;
    struct kafka_elect_leaders_response r;
    int32_t partition = 1;

    kafka_elect_leaders_request_init(&m);
    kafka_elect_leaders_request_topic_init(&t);
    t.topic = kafka_string("t");
    t.partitions = &partition;
    t.partitions_count = 1;
    m.topic_partitions = &t;
    m.topic_partitions_count = 1;
    kafka_door_ask(&k, KAFKA_API_ELECT_LEADERS, 2, &m, &r);
    assert_int_equal(r.replica_election_results[0].partition_result[0].error_code, KAFKA_ERROR_ELECTION_NOT_NEEDED);
    m.election_type = 1;
    kafka_door_ask(&k, KAFKA_API_ELECT_LEADERS, 2, &m, &r);
    assert_int_equal(r.replica_election_results[0].partition_result[0].error_code,
                     KAFKA_ERROR_ELIGIBLE_LEADERS_NOT_AVAILABLE);
    m.election_type = 0;
    m.topic_partitions_count = -1;
    kafka_door_ask(&k, KAFKA_API_ELECT_LEADERS, 2, &m, &r);
    assert_int_equal(r.replica_election_results_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_api_answers_in_each_version),
        TEST(an_unknown_version_of_api_versions_is_answered_in_version_0),
        TEST(what_is_no_request_of_ours_closes_the_connection_and_says_why),
        cmocka_unit_test(a_stream_that_is_no_kafka_is_named),
        cmocka_unit_test(frames_come_out_however_the_bytes_arrive),
        TEST(what_is_produced_is_fetched_byte_by_byte_in_each_version),
        TEST(produce_says_what_is_wrong),
        TEST(acks_0_has_no_answer_and_an_error_hangs_up),
        TEST(fetch_says_what_is_wrong),
        TEST(the_first_batch_comes_whatever_the_limits),
        TEST(answers_leave_in_the_order_of_requests),
        TEST(answers_that_wait_for_a_slow_one_are_limited),
        TEST(what_comes_behind_a_change_sees_it),
        TEST(metadata_knows_and_creates),
        TEST(topics_are_created_grown_and_deleted),
        TEST(offsets_by_time_end_start_and_newest),
        cmocka_unit_test_setup_teardown(epochs_end_where_the_next_begins, setup_three, teardown),
        cmocka_unit_test_setup_teardown(who_is_asked_in_error_names_the_leader, setup_three, teardown),
        TEST(deleted_records_are_gone_also_after_a_restart),
        TEST(producers_get_ids_and_epochs),
        TEST(configs_are_set_and_told),
        TEST(replicas_and_producers_are_described),
        TEST(a_preferred_leader_needs_no_election_and_none_is_unclean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
