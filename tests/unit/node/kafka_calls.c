#include "tests/unit/node/kafka_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct door d;
struct kafka_door k;
struct uuid topic;

int16_t version_of(int16_t key, int16_t version)
{
    const struct kafka_api *api = kafka_api_find(key);
    return version > api->version_max ? api->version_max : version;
}

int setup(void **state)
{
    door_defaults(&d);
    d.shards = 2;
    door_open(&d, 1);
    assert_int_equal(door_create_topic(&d, "t", 2, 1, &topic), 0);
    kafka_door_open(&k, &d, 1);
    return 0;
}

int teardown(void **state)
{
    kafka_door_close(&k);
    door_close(&d);
    return 0;
}

/* ---- calls
 * ------------------------------------------------------------------------------------------------------------ */

struct kafka_produce_response_partition produce(int16_t version, const char *name, int32_t partition, int16_t acks,
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

int64_t produce_one(int32_t partition, size_t size, int64_t timestamp)
{
    uint8_t batch[BATCH_ROOM];
    size_t length = door_batch(batch, sizeof batch, -1, 0, 0, size, timestamp);
    struct kafka_produce_response_partition p = produce(NEWEST, "t", partition, -1, batch, length);
    assert_int_equal(p.error_code, 0);
    return p.base_offset;
}

struct kafka_fetch_response_partition fetch_as(int16_t version, const struct fetch *f, const char *name,
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

struct kafka_fetch_response_partition fetch(const struct fetch *f)
{
    return fetch_as(NEWEST, f, "t", &topic);
}

struct kafka_list_offsets_response_partition list_offset(int16_t version, int32_t partition, int64_t timestamp)
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

struct kafka_metadata_response_topic metadata(int16_t version, const char *name, bool create)
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
