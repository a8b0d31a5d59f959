/* The front door for Kafka's clients: every API in every version that is spoken; frames, order, produce and fetch. */
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
#include "proto/kafka/messages/create_topics.h"
#include "tests/unit/node/kafka_calls.h"

/* ---- all of them
 * -------------------------------------------------------------------------------------------------------- */

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
        {"\x16\x03\x01\x02", "TLS"},
        {"GET /", "HTTP"},
        {"POST", "HTTP"},
        {"CRN1", "Cairn's own"},
        {"\x7f\xff\xff\xff", "2147483647 bytes"},
        {"\0\0\0\3", "3 bytes"},
        {"\xff\xff\xff\xff", "-1 bytes"},
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

/* ---- produce and fetch
 * ---------------------------------------------------------------------------------------------------- */

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
    /* And at once: the door's clients wait 40 s for an answer. */
    got = fetch(&(struct fetch){.offset = 1, .leader_epoch = epoch - 1, .max_wait_ms = 50000, .min_bytes = 1});
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

/* ---- order
 * ------------------------------------------------------------------------------------------------------------------ */

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
