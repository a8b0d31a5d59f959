/* The front door for Kafka's clients: topics, offsets, configuration and the rest of administration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/kafka/messages/create_partitions.h"
#include "proto/kafka/messages/create_topics.h"
#include "proto/kafka/messages/delete_records.h"
#include "proto/kafka/messages/delete_topics.h"
#include "proto/kafka/messages/describe_configs.h"
#include "proto/kafka/messages/describe_log_dirs.h"
#include "proto/kafka/messages/describe_producers.h"
#include "proto/kafka/messages/elect_leaders.h"
#include "proto/kafka/messages/incremental_alter_configs.h"
#include "proto/kafka/messages/init_producer_id.h"
#include "proto/kafka/messages/offset_for_leader_epoch.h"
#include "tests/unit/node/kafka_calls.h"

/* ---- metadata and topics
 * ------------------------------------------------------------------------------------------------------- */

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

/* @name or, from version 6 on, @id; NULL: the other. */
static int16_t delete_topic(int16_t version, const char *name, const struct uuid *id)
{
    struct kafka_delete_topics_request m;
    struct kafka_delete_topics_request_topic t;
    struct kafka_delete_topics_response r;
    struct kafka_string names[1] = {kafka_string(name)};

    kafka_delete_topics_request_init(&m);
    kafka_delete_topics_request_topic_init(&t);
    t.name = names[0];
    if (id != NULL) {
        t.topic_id = *id;
    }
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
    assert_int_equal(delete_topic(6, "a", NULL), 0);
    assert_int_equal(delete_topic(1, "b", NULL), 0);
    assert_int_equal(delete_topic(6, "a", NULL), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(delete_topic(6, "", NULL), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(delete_topic(6, "c", &topic), KAFKA_ERROR_INVALID_REQUEST); /* the id is t's */
    assert_int_equal(delete_topic(6, NULL, NULL), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(metadata(12, "c", false).error_code, 0);
    assert_int_equal(metadata(12, "t", false).error_code, 0);
    assert_int_equal(delete_topic(6, NULL, &topic), 0);
    assert_int_equal(delete_topic(6, NULL, &topic), KAFKA_ERROR_UNKNOWN_TOPIC_ID);
}

/* ---- offsets
 * -------------------------------------------------------------------------------------------------------------------
 */

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
    assert_int_equal(fetch(&(struct fetch){.offset = 2, .leader_epoch = -1}).error_code,
                     KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
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

/* ---- the rest
 * --------------------------------------------------------------------------------------------------------------------
 */

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

/* As null does, an empty list of keys asks for all. */
static int32_t count_configs(struct kafka_string *keys, int32_t n)
{
    struct kafka_describe_configs_request m;
    struct kafka_describe_configs_request_resource resource;
    struct kafka_describe_configs_response r;

    kafka_describe_configs_request_init(&m);
    kafka_describe_configs_request_resource_init(&resource);
    resource.resource_type = 2;
    resource.resource_name = kafka_string("t");
    resource.configuration_keys = keys;
    resource.configuration_keys_count = n;
    m.resources = &resource;
    m.resources_count = 1;
    kafka_door_ask(&k, KAFKA_API_DESCRIBE_CONFIGS, 4, &m, &r);
    assert_int_equal(r.results[0].error_code, 0);
    return r.results[0].configs_count;
}

static void no_keys_are_all_keys(void **state)
{
    struct kafka_string unknown = kafka_string("no.such");
    int32_t all = count_configs(NULL, -1);
    assert_true(all > 20);
    assert_int_equal(count_configs(&unknown, 0), all);
    assert_int_equal(count_configs(&unknown, 1), 0);
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
        TEST(metadata_knows_and_creates),
        TEST(topics_are_created_grown_and_deleted),
        TEST(offsets_by_time_end_start_and_newest),
        cmocka_unit_test_setup_teardown(epochs_end_where_the_next_begins, setup_three, teardown),
        cmocka_unit_test_setup_teardown(who_is_asked_in_error_names_the_leader, setup_three, teardown),
        TEST(deleted_records_are_gone_also_after_a_restart),
        TEST(producers_get_ids_and_epochs),
        TEST(configs_are_set_and_told),
        TEST(no_keys_are_all_keys),
        TEST(replicas_and_producers_are_described),
        TEST(a_preferred_leader_needs_no_election_and_none_is_unclean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
