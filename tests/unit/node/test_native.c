/* Each call of the native protocol over the wire: its answer, its errors, what it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/native/native.h"
#include "proto/record/record_builder.h"
#include "tests/unit/node/door.h"

static struct door d;
static struct uuid topic;
static struct door_conn *c;

static int open_one(void **state)
{
    door_defaults(&d);
    door_open(&d, 1);
    c = door_connect(&d, 1);
    return door_create_topic(&d, "t", 2, 1, &topic);
}

static int close_all(void **state)
{
    door_close(&d);
    return 0;
}

static struct door_answer *ask(uint16_t call, const ProtobufCMessage *m)
{
    struct door_answer *a = door_wait(c, door_send(c, call, m, NULL, 0), 20000);
    assert_non_null(a);
    assert_int_equal(a->header.call, call);
    return a;
}

static int status_of(struct door_answer *a)
{
    int status = a->header.status;
    if (status != 0) {
        Cairn__Native__Failure *f = cairn__native__failure__unpack(NULL, a->header.message_length, a->message);
        assert_non_null(f);
        assert_true(f->text[0] != '\0');
        cairn__native__failure__free_unpacked(f, NULL);
    }
    door_answer_free(a);
    return status;
}

static void hello_tells_what_the_connection_takes(void **state)
{
    Cairn__Native__HelloRequest m = CAIRN__NATIVE__HELLO_REQUEST__INIT;
    struct door_answer *a = ask(CALL_HELLO, &m.base);
    Cairn__Native__HelloResponse *r = cairn__native__hello_response__unpack(NULL, a->header.message_length, a->message);
    assert_non_null(r);
    assert_int_equal(r->node, 1);
    assert_int_equal(r->cluster_id.len, 16);
    assert_int_equal(r->n_calls, 23);
    assert_int_equal(r->payload_max_bytes, NATIVE_PAYLOAD_MAX_BYTES); /* a request of that size is not refused */
    assert_int_equal(r->message_max_bytes, FRAME_MESSAGE_MAX);
    cairn__native__hello_response__free_unpacked(r, NULL);
    door_answer_free(a);
}

static void unknown_calls_and_versions_are_told(void **state)
{
    static const struct {
        uint16_t call;
        uint16_t version;
        uint16_t status;
    } cases[] = {{0, 1, ERR_UNKNOWN_CALL},          {63, 1, ERR_UNKNOWN_CALL},   {CALL_PEER_RAFT, 1, ERR_UNKNOWN_CALL},
                 {60000, 1, ERR_UNKNOWN_CALL},      {CALL_FETCH, 2, ERR_VERSION}, {CALL_FETCH, 0, ERR_VERSION},
                 {CALL_PRODUCE, 999, ERR_VERSION}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct frame_header h = {.kind = FRAME_REQUEST, .call = cases[i].call, .call_version = cases[i].version,
                                 .correlation = 5000 + (uint32_t)i};
        uint8_t bytes[FRAME_HEADER_SIZE];
        struct door_answer *a;
        Cairn__Native__Failure *f;
        frame_encode_header(&h, bytes);
        door_bytes(c, bytes, sizeof bytes);
        a = door_wait(c, h.correlation, 1000);
        assert_non_null(a);
        assert_int_equal(a->header.status, cases[i].status);
        f = cairn__native__failure__unpack(NULL, a->header.message_length, a->message);
        assert_non_null(f);
        assert_int_equal(f->version_max, cases[i].status == ERR_VERSION);
        cairn__native__failure__free_unpacked(f, NULL);
        door_answer_free(a);
    }
}

static void metadata_knows_topics_and_their_absence(void **state)
{
    Cairn__Native__MetadataRequest m = CAIRN__NATIVE__METADATA_REQUEST__INIT;
    char known[] = "t";
    char unknown[] = "nothing";
    char *names[] = {known, unknown};
    struct door_answer *a;
    Cairn__Native__MetadataResponse *r;
    m.topics = names;
    m.n_topics = 2;
    a = ask(CALL_METADATA, &m.base);
    assert_int_equal(a->header.status, 0);
    r = cairn__native__metadata_response__unpack(NULL, a->header.message_length, a->message);
    assert_int_equal(r->n_topics, 2);
    assert_int_equal(r->topics[0]->n_partitions, 2);
    assert_int_equal(r->topics[0]->partitions[1]->leader_node, 1);
    assert_int_equal(r->topics[1]->error, ERR_UNKNOWN_TOPIC);
    assert_string_equal(r->nodes[0]->address, "n1:9092");
    cairn__native__metadata_response__free_unpacked(r, NULL);
    door_answer_free(a);
}

/* An answer that does not fit in a frame is an error, not the end of the node. */
static void metadata_larger_than_a_frame_is_refused(void **state)
{
    enum { n = 4000 };
    Cairn__Native__MetadataRequest m = CAIRN__NATIVE__METADATA_REQUEST__INIT;
    static char *names[n];
    static char *more[NATIVE_TOPICS_MAX + 1];
    char name[] = "wide";
    struct uuid id;
    assert_int_equal(door_create_topic(&d, name, 50, 1, &id), 0);
    for (int i = 0; i < n; i++) {
        names[i] = name;
    }
    m.topics = names;
    m.n_topics = n;
    assert_int_equal(status_of(ask(CALL_METADATA, &m.base)), ERR_TOO_BIG);
    for (int i = 0; i <= NATIVE_TOPICS_MAX; i++) {
        more[i] = name;
    }
    m.topics = more;
    m.n_topics = NATIVE_TOPICS_MAX + 1;
    assert_int_equal(status_of(ask(CALL_METADATA, &m.base)), ERR_INVALID);
    m.n_topics = 1;
    assert_int_equal(status_of(ask(CALL_METADATA, &m.base)), 0);
}

static void topics_are_made_described_listed_and_deleted(void **state)
{
    Cairn__Native__CreateTopicRequest create = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    Cairn__Native__DescribeTopicRequest describe = CAIRN__NATIVE__DESCRIBE_TOPIC_REQUEST__INIT;
    Cairn__Native__ListTopicsRequest list = CAIRN__NATIVE__LIST_TOPICS_REQUEST__INIT;
    Cairn__Native__DeleteTopicRequest del = CAIRN__NATIVE__DELETE_TOPIC_REQUEST__INIT;
    Cairn__Native__KeyValue kv = CAIRN__NATIVE__KEY_VALUE__INIT;
    Cairn__Native__KeyValue *kvs[1] = {&kv};
    Cairn__Native__ListTopicsResponse *r;
    struct door_answer *a;
    char name[] = "other";
    char bad[] = "no/such";
    char key[] = "max.message.bytes";
    char value[] = "5000";
    char wrong[] = "5";
    uint8_t batch[8000];

    create.name = bad;
    assert_int_equal(status_of(ask(CALL_CREATE_TOPIC, &create.base)), ERR_INVALID_TOPIC);
    create.name = name;
    create.replication = 3;
    assert_int_equal(status_of(ask(CALL_CREATE_TOPIC, &create.base)), ERR_INVALID_REPLICAS);
    create.replication = 1;
    create.n_configs = 1;
    create.configs = kvs;
    kv.key = key;
    kv.value = wrong;
    assert_int_equal(status_of(ask(CALL_CREATE_TOPIC, &create.base)), ERR_INVALID_CONFIG);
    kv.value = value;
    create.validate_only = true;
    assert_int_equal(status_of(ask(CALL_CREATE_TOPIC, &create.base)), 0);
    describe.name = name;
    assert_int_equal(status_of(ask(CALL_DESCRIBE_TOPIC, &describe.base)), ERR_UNKNOWN_TOPIC);
    create.validate_only = false;
    assert_int_equal(status_of(ask(CALL_CREATE_TOPIC, &create.base)), 0);
    assert_int_equal(status_of(ask(CALL_CREATE_TOPIC, &create.base)), ERR_TOPIC_EXISTS);
    assert_int_equal(status_of(ask(CALL_DESCRIBE_TOPIC, &describe.base)), 0);
    a = ask(CALL_LIST_TOPICS, &list.base);
    r = cairn__native__list_topics_response__unpack(NULL, a->header.message_length, a->message);
    assert_int_equal(r->n_topics, 2);
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(r->topics[i]->name, name) == 0) { /* its limit holds */
            struct uuid id;
            size_t size = door_batch(batch, sizeof batch, -1, 0, 0, 6000, 1);
            memcpy(id.bytes, r->topics[i]->topic_id.data, 16);
            door_run(&d, 1000);
            assert_int_equal(door_wait_produce(c, door_send_produce(c, &id, 0, batch, size, 1000), 5000, NULL),
                             ERR_BATCH_TOO_BIG);
        }
    }
    cairn__native__list_topics_response__free_unpacked(r, NULL);
    door_answer_free(a);
    assert_int_equal(status_of(ask(CALL_DELETE_TOPIC, &del.base)), ERR_INVALID);
    del.name = name;
    assert_int_equal(status_of(ask(CALL_DELETE_TOPIC, &del.base)), 0);
    assert_int_equal(status_of(ask(CALL_DELETE_TOPIC, &del.base)), ERR_UNKNOWN_TOPIC);
}

static void producer_ids_are_new_over_blocks_and_epochs_rise(void **state)
{
    Cairn__Native__InitProducerIdRequest m = CAIRN__NATIVE__INIT_PRODUCER_ID_REQUEST__INIT;
    int64_t last = -1;
    m.producer_id = -1;
    for (int i = 0; i < 2500; i++) { /* blocks have 1,000 */
        struct door_answer *a = ask(CALL_INIT_PRODUCER_ID, &m.base);
        Cairn__Native__InitProducerIdResponse *r =
            cairn__native__init_producer_id_response__unpack(NULL, a->header.message_length, a->message);
        assert_true(r->producer_id > last);
        assert_int_equal(r->producer_epoch, 0);
        last = r->producer_id;
        cairn__native__init_producer_id_response__free_unpacked(r, NULL);
        door_answer_free(a);
    }
    for (int i = 0; i < 2; i++) {
        struct door_answer *a;
        Cairn__Native__InitProducerIdResponse *r;
        m.producer_id = last;
        m.producer_epoch = i == 0 ? 4 : SERVICE_PRODUCER_EPOCH_MAX;
        a = ask(CALL_INIT_PRODUCER_ID, &m.base);
        r = cairn__native__init_producer_id_response__unpack(NULL, a->header.message_length, a->message);
        assert_true(i == 0 ? r->producer_id == last && r->producer_epoch == 5
                           : r->producer_id > last && r->producer_epoch == 0);
        cairn__native__init_producer_id_response__free_unpacked(r, NULL);
        door_answer_free(a);
    }
}

static void status_counts(void **state)
{
    Cairn__Native__ClusterStatusRequest m = CAIRN__NATIVE__CLUSTER_STATUS_REQUEST__INIT;
    struct door_answer *a = ask(CALL_CLUSTER_STATUS, &m.base);
    Cairn__Native__ClusterStatusResponse *r =
        cairn__native__cluster_status_response__unpack(NULL, a->header.message_length, a->message);
    assert_int_equal(r->topics, 1);
    assert_int_equal(r->partitions, 2);
    assert_int_equal(r->partitions_without_leader, 0);
    assert_int_equal(r->n_shards, 1);
    assert_int_equal(r->shards[0]->leading, 3);
    assert_int_equal(r->n_metadata_voters, 1);
    cairn__native__cluster_status_response__free_unpacked(r, NULL);
    door_answer_free(a);
}

static int produce_as(int64_t producer, int16_t epoch, int32_t sequence, int64_t *offset)
{
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, producer, epoch, sequence, 50, 1000);
    return door_wait_produce(c, door_send_produce(c, &topic, 0, batch, size, 5000), 10000, offset);
}

static void sequences_are_judged(void **state)
{
    int64_t offset = -1;
    assert_int_equal(produce_as(9, 0, 1, &offset), ERR_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(offset, -1);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(produce_as(9, 0, i, &offset), 0);
        assert_int_equal(offset, i);
    }
    assert_int_equal(produce_as(9, 0, 4, &offset), 0); /* again */
    assert_int_equal(offset, 4);
    assert_int_equal(produce_as(9, 0, 0, &offset), ERR_DUPLICATE_SEQUENCE);
    assert_int_equal(produce_as(9, 0, 9, &offset), ERR_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(produce_as(9, 2, 0, &offset), 0);
    assert_int_equal(offset, 7);
    assert_int_equal(produce_as(9, 1, 0, &offset), ERR_PRODUCER_FENCED);
}

static void a_retry_in_flight_is_answered_with_the_original(void **state)
{
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, 9, 0, 0, 50, 1000);
    uint32_t id[3];
    int64_t hw = -1;
    for (int i = 0; i < 3; i++) {
        id[i] = door_send_produce(c, &topic, 0, batch, size, 5000);
    }
    for (int i = 0; i < 3; i++) {
        int64_t offset = -1;
        assert_int_equal(door_wait_produce(c, id[i], 1000, &offset), 0);
        assert_int_equal(offset, 0);
    }
    assert_int_equal(door_list_offset(c, &topic, 0, -1, &hw), 0);
    assert_int_equal(hw, 1);
}

static void bad_batches_are_refused_alone(void **state)
{
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, -1, 0, 0, 50, 1000);
    batch[size - 1] ^= 1;
    assert_int_not_equal(door_wait_produce(c, door_send_produce(c, &topic, 0, batch, size, 1000), 5000, NULL), 0);
    assert_int_not_equal(door_wait_produce(c, door_send_produce(c, &topic, 0, batch, 0, 1000), 5000, NULL), 0);
    assert_int_not_equal(door_wait_produce(c, door_send_produce(c, &topic, 0, batch, 10, 1000), 5000, NULL), 0);
    assert_int_equal(door_wait_produce(c, door_send_produce(c, &topic, 77, batch, size, 1000), 5000, NULL),
                     ERR_UNKNOWN_TOPIC);
    assert_int_equal(door_produce(c, &topic, 0, 50), 0);
}

static void fetch_knows_what_is_out_of_range(void **state)
{
    struct door_fetch f = {.offset = 5, .max_wait_ms = 10};
    assert_int_equal(door_wait_fetch(c, door_send_fetch(c, &topic, &f), 5000, NULL, NULL), ERR_OFFSET_OUT_OF_RANGE);
    f.offset = 0;
    assert_int_equal(door_wait_fetch(c, door_send_fetch(c, &topic, &f), 5000, NULL, NULL), 0);
    f.partition = 9;
    assert_int_equal(door_wait_fetch(c, door_send_fetch(c, &topic, &f), 5000, NULL, NULL), ERR_UNKNOWN_TOPIC);
}

static void offsets_are_found_by_time(void **state)
{
    static const int64_t times[] = {1000, 2000, 2000, 5000};
    int64_t offset = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t batch[400];
        size_t size = door_batch(batch, sizeof batch, -1, 0, 0, 50, times[i]);
        assert_int_equal(door_wait_produce(c, door_send_produce(c, &topic, 0, batch, size, 1000), 5000, NULL), 0);
    }
    assert_int_equal(door_list_offset(c, &topic, 0, -1, &offset), 0);
    assert_int_equal(offset, 4);
    assert_int_equal(door_list_offset(c, &topic, 0, -2, &offset), 0);
    assert_int_equal(offset, 0);
    assert_int_equal(door_list_offset(c, &topic, 0, 1500, &offset), 0);
    assert_int_equal(offset, 1);
    assert_int_equal(door_list_offset(c, &topic, 0, 2001, &offset), 0);
    assert_int_equal(offset, 3);
    assert_int_equal(door_list_offset(c, &topic, 0, 5001, &offset), 0);
    assert_int_equal(offset, -1);
}

/* Three records in one batch: the walk goes inside, and through zstd as well. */
static void offsets_are_found_inside_a_batch(void **state)
{
    for (int k = 0; k < 2; k++) {
        struct codec_scratch scratch;
        static uint8_t memory[20000];
        struct record_builder b;
        struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
        char value[1000];
        uint8_t *data;
        size_t size;
        int64_t offset = -1;
        memset(value, 'v', sizeof value);
        codec_scratch_init(&scratch, 0);
        record_builder_init(&b, memory, sizeof memory);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(record_builder_append(&b, NULL, -1, value, sizeof value, NULL, 0, 1000 * (i + 1)), 0);
        }
        stamp.codec = k == 0 ? CODEC_NONE : CODEC_ZSTD;
        assert_int_equal(record_builder_finish(&b, &stamp, &scratch, &data, &size), 0);
        assert_true(k == 0 || size < 1000);
        assert_int_equal(door_wait_produce(c, door_send_produce(c, &topic, (uint32_t)k, data, size, 1000), 5000, NULL), 0);
        assert_int_equal(door_list_offset(c, &topic, (uint32_t)k, 2500, &offset), 0);
        assert_int_equal(offset, 2);
        assert_int_equal(door_list_offset(c, &topic, (uint32_t)k, 2000, &offset), 0);
        assert_int_equal(offset, 1);
        codec_scratch_close(&scratch);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, open_one, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(hello_tells_what_the_connection_takes),
        T(unknown_calls_and_versions_are_told),
        T(metadata_knows_topics_and_their_absence),
        T(metadata_larger_than_a_frame_is_refused),
        T(topics_are_made_described_listed_and_deleted),
        T(producer_ids_are_new_over_blocks_and_epochs_rise),
        T(status_counts),
        T(sequences_are_judged),
        T(a_retry_in_flight_is_answered_with_the_original),
        T(bad_batches_are_refused_alone),
        T(fetch_knows_what_is_out_of_range),
        T(offsets_are_found_by_time),
        T(offsets_are_found_inside_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
