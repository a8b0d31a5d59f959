/* The group APIs in every version that is spoken: what each says, where, and by which of Kafka's codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/service/service_group.h"
#include "proto/kafka/messages/delete_groups.h"
#include "proto/kafka/messages/describe_groups.h"
#include "proto/kafka/messages/find_coordinator.h"
#include "proto/kafka/messages/heartbeat.h"
#include "proto/kafka/messages/join_group.h"
#include "proto/kafka/messages/leave_group.h"
#include "proto/kafka/messages/list_groups.h"
#include "proto/kafka/messages/offset_commit.h"
#include "proto/kafka/messages/offset_delete.h"
#include "proto/kafka/messages/offset_fetch.h"
#include "proto/kafka/messages/sync_group.h"
#include "tests/unit/node/kafka_door.h"

#define BYTES(s) ((struct kafka_bytes){(const uint8_t *)(s), (int32_t)strlen(s)})

static struct door d;
static struct kafka_door k;
static struct uuid topic;

/* ---- calls, in a version or the nearest one that the API has --------------------------------------------------- */

static int16_t near(int16_t key, int16_t version)
{
    const struct kafka_api *api = kafka_api_find(key);
    return version < api->version_min ? api->version_min : version > api->version_max ? api->version_max : version;
}

static void assert_text(struct kafka_string s, const char *text)
{
    assert_int_equal(s.length, strlen(text));
    assert_memory_equal(s.data, text, strlen(text));
}

static void copy(struct kafka_string s, char *out)
{
    assert_in_range(s.length, 0, GROUP_MEMBER_ID_MAX);
    memcpy(out, s.data, (size_t)s.length);
    out[s.length] = '\0';
}

static struct kafka_find_coordinator_response_coordinator find(struct kafka_door *at, int16_t version,
                                                               const char *group, int8_t type)
{
    struct kafka_find_coordinator_request m;
    static struct kafka_find_coordinator_response r;
    struct kafka_string keys[] = {kafka_string(group), kafka_string("another")};
    kafka_find_coordinator_request_init(&m);
    m.key_type = type;
    if (version >= 4) {
        m.coordinator_keys = keys;
        m.coordinator_keys_count = 2;
    } else {
        m.key = keys[0];
    }
    kafka_door_ask(at, KAFKA_API_FIND_COORDINATOR, version, &m, &r);
    if (version >= 4) {
        assert_int_equal(r.coordinators_count, 2);
        assert_text(r.coordinators[0].key, group);
        assert_text(r.coordinators[1].key, "another");
        return r.coordinators[0];
    }
    return (struct kafka_find_coordinator_response_coordinator){.node_id = r.node_id,
                                                                .host = r.host,
                                                                .port = r.port,
                                                                .error_code = r.error_code,
                                                                .error_message = r.error_message};
}

static void join_send(struct kafka_door *at, int16_t version, const char *group, const char *member,
                      const char *instance)
{
    struct kafka_join_group_request m;
    struct kafka_join_group_request_protocol protocol = {kafka_string("range"), BYTES("subscription")};
    kafka_join_group_request_init(&m);
    m.group_id = kafka_string(group);
    m.member_id = kafka_string(member);
    m.group_instance_id = kafka_string(instance);
    m.session_timeout_ms = 10000;
    m.rebalance_timeout_ms = version == 0 ? -1 : 20000;
    m.protocol_type = kafka_string("consumer");
    m.protocols = &protocol;
    m.protocols_count = 1;
    kafka_door_send(at, KAFKA_API_JOIN_GROUP, version, &m);
}

static void join_wait(struct kafka_door *at, int16_t version, struct kafka_join_group_response *r)
{
    assert_true(kafka_door_wait(at, KAFKA_API_JOIN_GROUP, version, r, 40000));
}

/* A whole join of a new member of a new group: it leads. Returns the generation. */
static int32_t join(int16_t version, const char *group, char member[GROUP_MEMBER_ID_MAX + 1])
{
    struct kafka_join_group_response r;
    version = near(KAFKA_API_JOIN_GROUP, version);
    join_send(&k, version, group, "", NULL);
    join_wait(&k, version, &r);
    if (version >= 4) { /* KIP-394 */
        assert_int_equal(r.error_code, KAFKA_ERROR_MEMBER_ID_REQUIRED);
        assert_int_equal(r.generation_id, -1);
        assert_int_equal(r.protocol_name.length, version >= 7 ? -1 : 0);
        copy(r.member_id, member);
        assert_memory_equal(member, "tester-", 7);
        join_send(&k, version, group, member, NULL);
        join_wait(&k, version, &r);
        assert_text(r.member_id, member);
    }
    assert_int_equal(r.error_code, 0);
    copy(r.member_id, member);
    assert_text(r.leader, member);
    assert_text(r.protocol_name, "range");
    if (version >= 7) {
        assert_text(r.protocol_type, "consumer");
    }
    assert_int_equal(r.members_count, 1);
    assert_text(r.members[0].member_id, member);
    assert_int_equal(r.members[0].group_instance_id.length, -1);
    assert_int_equal(r.members[0].metadata.length, strlen("subscription"));
    assert_false(r.skip_assignment);
    return r.generation_id;
}

static int16_t sync(int16_t version, const char *group, const char *member, int32_t generation)
{
    struct kafka_sync_group_request m;
    struct kafka_sync_group_response r;
    struct kafka_sync_group_request_assignment assignment = {kafka_string(member), BYTES("everything")};
    version = near(KAFKA_API_SYNC_GROUP, version);
    kafka_sync_group_request_init(&m);
    m.group_id = kafka_string(group);
    m.member_id = kafka_string(member);
    m.generation_id = generation;
    m.assignments = &assignment;
    m.assignments_count = 1;
    if (version >= 5) {
        m.protocol_type = kafka_string("consumer");
        m.protocol_name = kafka_string("range");
    }
    kafka_door_ask(&k, KAFKA_API_SYNC_GROUP, version, &m, &r);
    if (r.error_code == 0) {
        assert_int_equal(r.assignment.length, strlen("everything"));
        assert_memory_equal(r.assignment.data, "everything", strlen("everything"));
        if (version >= 5) {
            assert_text(r.protocol_type, "consumer");
            assert_text(r.protocol_name, "range");
        }
    } else {
        assert_int_equal(r.assignment.length, 0);
    }
    return r.error_code;
}

static int16_t heartbeat(struct kafka_door *at, int16_t version, const char *group, const char *member,
                         int32_t generation)
{
    struct kafka_heartbeat_request m;
    struct kafka_heartbeat_response r;
    version = near(KAFKA_API_HEARTBEAT, version);
    kafka_heartbeat_request_init(&m);
    m.group_id = kafka_string(group);
    m.member_id = kafka_string(member);
    m.generation_id = generation;
    kafka_door_ask(at, KAFKA_API_HEARTBEAT, version, &m, &r);
    return r.error_code;
}

/* The member's error, wherever the version tells it. */
static int16_t leave(int16_t version, const char *group, const char *member)
{
    struct kafka_leave_group_request m;
    struct kafka_leave_group_response r;
    struct kafka_leave_group_request_member one = {kafka_string(member), kafka_string(NULL), kafka_string(NULL)};
    version = near(KAFKA_API_LEAVE_GROUP, version);
    kafka_leave_group_request_init(&m);
    m.group_id = kafka_string(group);
    if (version < 3) {
        m.member_id = kafka_string(member);
    } else {
        m.members = &one;
        m.members_count = 1;
    }
    kafka_door_ask(&k, KAFKA_API_LEAVE_GROUP, version, &m, &r);
    if (version < 3) {
        return r.error_code;
    }
    assert_int_equal(r.error_code, 0);
    assert_int_equal(r.members_count, 1);
    assert_text(r.members[0].member_id, member);
    return r.members[0].error_code;
}

/* Two partitions of the topic "t" and one of a topic that is not there. */
static void commit(struct kafka_door *at, int16_t version, const char *group, const char *member, int32_t generation,
                   struct kafka_string metadata, int16_t codes[3])
{
    struct kafka_offset_commit_request m;
    struct kafka_offset_commit_response r;
    struct kafka_offset_commit_request_partition parts[3];
    struct kafka_offset_commit_request_topic topics[2] = {{kafka_string("t"), parts, 2},
                                                          {kafka_string("no such"), &parts[2], 1}};
    version = near(KAFKA_API_OFFSET_COMMIT, version);
    for (int i = 0; i < 3; i++) {
        kafka_offset_commit_request_partition_init(&parts[i]);
        parts[i].partition_index = 3 - i;
        parts[i].committed_offset = 40 + i;
        parts[i].committed_leader_epoch = version >= 6 ? 5 : -1;
        parts[i].committed_metadata = i == 0 ? metadata : kafka_string(NULL);
    }
    kafka_offset_commit_request_init(&m);
    m.group_id = kafka_string(group);
    m.member_id = kafka_string(member);
    m.generation_id_or_member_epoch = generation;
    m.topics = topics;
    m.topics_count = 2;
    kafka_door_ask(at, KAFKA_API_OFFSET_COMMIT, version, &m, &r);
    assert_int_equal(r.topics_count, 2);
    assert_text(r.topics[0].name, "t");
    assert_text(r.topics[1].name, "no such");
    assert_int_equal(r.topics[0].partitions_count, 2);
    assert_int_equal(r.topics[1].partitions_count, 1);
    assert_int_equal(r.topics[0].partitions[0].partition_index, 3);
    codes[0] = r.topics[0].partitions[0].error_code;
    codes[1] = r.topics[0].partitions[1].error_code;
    codes[2] = r.topics[1].partitions[0].error_code;
}

/* One partition of one group, from wherever the version tells it. */
static struct kafka_offset_fetch_response_group_partition fetch(struct kafka_door *at, int16_t version,
                                                                const char *group, int32_t partition, int16_t *top)
{
    struct kafka_offset_fetch_request m;
    static struct kafka_offset_fetch_response r;
    struct kafka_offset_fetch_request_topic old = {kafka_string("t"), &partition, 1};
    struct kafka_offset_fetch_request_group_topic new = {kafka_string("t"), &partition, 1};
    struct kafka_offset_fetch_request_group one;
    struct kafka_offset_fetch_response_group_partition out = {0};
    version = near(KAFKA_API_OFFSET_FETCH, version);
    kafka_offset_fetch_request_init(&m);
    kafka_offset_fetch_request_group_init(&one);
    one.group_id = kafka_string(group);
    one.topics = &new;
    one.topics_count = 1;
    if (version >= 8) {
        m.groups = &one;
        m.groups_count = 1;
    } else {
        m.group_id = one.group_id;
        m.topics = &old;
        m.topics_count = 1;
    }
    kafka_door_ask(at, KAFKA_API_OFFSET_FETCH, version, &m, &r);
    if (version >= 8) {
        assert_int_equal(r.groups_count, 1);
        assert_text(r.groups[0].group_id, group);
        *top = r.groups[0].error_code;
        if (*top == 0) {
            assert_text(r.groups[0].topics[0].name, "t");
            out = r.groups[0].topics[0].partitions[0];
        }
        return out;
    }
    *top = r.error_code;
    if (*top == 0) {
        assert_text(r.topics[0].name, "t");
        out.partition_index = r.topics[0].partitions[0].partition_index;
        out.committed_offset = r.topics[0].partitions[0].committed_offset;
        out.committed_leader_epoch = r.topics[0].partitions[0].committed_leader_epoch;
        out.metadata = r.topics[0].partitions[0].metadata;
        out.error_code = r.topics[0].partitions[0].error_code;
    }
    return out;
}

static struct kafka_describe_groups_response_group describe(int16_t version, const char *group)
{
    struct kafka_describe_groups_request m;
    static struct kafka_describe_groups_response r;
    struct kafka_string groups[] = {kafka_string(group)};
    version = near(KAFKA_API_DESCRIBE_GROUPS, version);
    kafka_describe_groups_request_init(&m);
    m.groups = groups;
    m.groups_count = 1;
    m.include_authorized_operations = version >= 3;
    kafka_door_ask(&k, KAFKA_API_DESCRIBE_GROUPS, version, &m, &r);
    assert_int_equal(r.groups_count, 1);
    assert_text(r.groups[0].group_id, group);
    return r.groups[0];
}

static int32_t list(int16_t version, const char *state, const char *type)
{
    struct kafka_list_groups_request m;
    struct kafka_list_groups_response r;
    struct kafka_string states[] = {kafka_string(state)};
    struct kafka_string types[] = {kafka_string(type)};
    version = near(KAFKA_API_LIST_GROUPS, version);
    kafka_list_groups_request_init(&m);
    m.states_filter = states;
    m.states_filter_count = state == NULL ? 0 : 1;
    m.types_filter = types;
    m.types_filter_count = type == NULL ? 0 : 1;
    kafka_door_ask(&k, KAFKA_API_LIST_GROUPS, version, &m, &r);
    assert_int_equal(r.error_code, 0);
    for (int32_t i = 0; i < r.groups_count; i++) {
        if (version >= 5) {
            assert_text(r.groups[i].group_type, "Classic");
        }
        if (version >= 4 && state != NULL) {
            assert_int_equal(r.groups[i].group_state.length, strlen(state));
        }
    }
    return r.groups_count;
}

static int16_t delete_group(int16_t version, const char *group)
{
    struct kafka_delete_groups_request m;
    struct kafka_delete_groups_response r;
    struct kafka_string groups[] = {kafka_string(group)};
    version = near(KAFKA_API_DELETE_GROUPS, version);
    kafka_delete_groups_request_init(&m);
    m.groups_names = groups;
    m.groups_names_count = 1;
    kafka_door_ask(&k, KAFKA_API_DELETE_GROUPS, version, &m, &r);
    assert_int_equal(r.results_count, 1);
    assert_text(r.results[0].group_id, group);
    return r.results[0].error_code;
}

/* ---- setup ----------------------------------------------------------------------------------------------------- */

static int open_nodes(unsigned n)
{
    int rv;
    door_defaults(&d);
    door_open(&d, n);
    rv = door_create_topic(&d, "t", 4, n, &topic);
    kafka_door_open(&k, &d, 1);
    assert_int_equal(find(&k, 4, "g", 0).error_code, 0); /* makes the internal groups */
    return rv;
}

static int open_one(void **state)
{
    return open_nodes(1);
}

static int open_three(void **state)
{
    return open_nodes(3);
}

static int close_all(void **state)
{
    kafka_door_close(&k);
    door_close(&d);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void the_coordinator_is_found_in_every_version(void **state)
{
    for (int16_t version = 0; version <= 5; version++) {
        struct kafka_find_coordinator_response_coordinator c = find(&k, version, "g", 0);
        assert_int_equal(c.error_code, 0);
        assert_int_equal(c.node_id, 1);
        assert_text(c.host, "n1");
        assert_int_equal(c.port, 9092);
        if (version >= 1) { /* of transactions: there are none yet */
            c = find(&k, version, "g", 1);
            assert_int_equal(c.error_code, KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
            assert_int_equal(c.node_id, -1);
            assert_true(c.error_message.length > 0);
            assert_int_equal(find(&k, version, "g", 2).error_code, KAFKA_ERROR_INVALID_REQUEST);
        }
        c = find(&k, version, "", 0);
        assert_int_equal(c.error_code, KAFKA_ERROR_INVALID_GROUP_ID);
    }
}

/* From the first join to the group's end, all of it in each version. */
static void a_members_life_in_every_version(void **state)
{
    for (int16_t version = 0; version <= 9; version++) {
        char group[8];
        char member[GROUP_MEMBER_ID_MAX + 1];
        struct kafka_offset_fetch_response_group_partition part;
        struct kafka_describe_groups_response_group described;
        int16_t codes[3];
        int16_t top;
        int32_t generation;
        snprintf(group, sizeof group, "g%d", version);
        generation = join(version, group, member);
        assert_int_equal(sync(version, group, member, generation + 1), KAFKA_ERROR_ILLEGAL_GENERATION);
        assert_int_equal(sync(version, group, member, generation), 0);
        assert_int_equal(heartbeat(&k, version, group, member, generation), 0);
        assert_int_equal(heartbeat(&k, version, group, member, generation + 1), KAFKA_ERROR_ILLEGAL_GENERATION);
        assert_int_equal(heartbeat(&k, version, group, "stranger", generation), KAFKA_ERROR_UNKNOWN_MEMBER_ID);

        commit(&k, version, group, member, generation, kafka_string("grüß dich"), codes);
        assert_int_equal(codes[0], 0);
        assert_int_equal(codes[1], 0);
        assert_int_equal(codes[2], KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        part = fetch(&k, version, group, 3, &top);
        assert_int_equal(top, 0);
        assert_int_equal(part.error_code, 0);
        assert_int_equal(part.committed_offset, 40);
        assert_text(part.metadata, "grüß dich");
        if (version >= 6) {
            assert_int_equal(part.committed_leader_epoch, 5);
        }
        part = fetch(&k, version, group, 2, &top);
        assert_int_equal(part.committed_offset, 41);
        assert_text(part.metadata, "");
        part = fetch(&k, version, group, 1, &top);
        assert_int_equal(part.committed_offset, -1);
        assert_int_equal(part.error_code, 0);

        described = describe(version, group);
        assert_int_equal(described.error_code, 0);
        assert_text(described.group_state, "Stable");
        assert_text(described.protocol_type, "consumer");
        assert_text(described.protocol_data, "range");
        assert_int_equal(described.members_count, 1);
        assert_text(described.members[0].member_id, member);
        assert_text(described.members[0].client_id, "tester");
        assert_text(described.members[0].client_host, "/10.1.2.3");
        assert_int_equal(described.members[0].member_metadata.length, strlen("subscription"));
        assert_int_equal(described.members[0].member_assignment.length, strlen("everything"));
        assert_true(version < 3 || described.authorized_operations > 0);

        assert_int_equal(list(version, NULL, NULL), 1);
        assert_int_equal(delete_group(version, group), KAFKA_ERROR_NON_EMPTY_GROUP);
        assert_int_equal(leave(version, group, "stranger"), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
        assert_int_equal(leave(version, group, member), 0);
        assert_int_equal(heartbeat(&k, version, group, member, generation), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
        assert_int_equal(delete_group(version, group), 0);
        assert_int_equal(delete_group(version, group), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
        assert_int_equal(list(version, NULL, NULL), 0);
    }
}

static void a_group_that_is_not_there_is_dead(void **state)
{
    for (int16_t version = 0; version <= 6; version++) {
        struct kafka_describe_groups_response_group g = describe(version, "nobody");
        assert_text(g.group_state, "Dead");
        assert_int_equal(g.members_count, 0);
        assert_int_equal(g.error_code, version < 6 ? 0 : KAFKA_ERROR_GROUP_ID_NOT_FOUND); /* KIP-1043 */
        assert_true(version < 6 || g.error_message.length > 0);
    }
}

static void lists_are_filtered_by_state_and_type(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    int16_t codes[3];
    int32_t generation = join(9, "with a member", member);
    assert_int_equal(sync(5, "with a member", member, generation), 0);
    commit(&k, 9, "offsets alone", "", -1, kafka_string(NULL), codes);
    assert_int_equal(codes[0], 0);
    assert_int_equal(list(4, "Stable", NULL), 1);
    assert_int_equal(list(4, "stable", NULL), 1);
    assert_int_equal(list(4, "Empty", NULL), 1);
    assert_int_equal(list(4, "PreparingRebalance", NULL), 0);
    assert_int_equal(list(4, "Assigning", NULL), 0); /* of the other protocol's groups */
    assert_int_equal(list(5, NULL, "classic"), 2);
    assert_int_equal(list(5, NULL, "consumer"), 0);
    assert_int_equal(list(5, "Empty", "Classic"), 1);
}

static void metadata_above_the_limit_is_refused_beside_the_others(void **state)
{
    char big[GROUP_COMMIT_METADATA_MAX + 1];
    int16_t codes[3];
    memset(big, 'm', sizeof big);
    commit(&k, 8, "g", "", -1, (struct kafka_string){big, sizeof big}, codes);
    assert_int_equal(codes[0], KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(codes[1], 0);
    commit(&k, 8, "g", "", -1, (struct kafka_string){big, sizeof big - 1}, codes);
    assert_int_equal(codes[0], 0);
}

static void an_error_of_a_whole_commit_is_told_of_each_partition(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    int16_t codes[3];
    int32_t generation = join(9, "g", member);
    assert_int_equal(sync(5, "g", member, generation), 0);
    commit(&k, 7, "g", member, generation + 1, kafka_string(NULL), codes);
    assert_int_equal(codes[0], KAFKA_ERROR_ILLEGAL_GENERATION);
    assert_int_equal(codes[1], KAFKA_ERROR_ILLEGAL_GENERATION);
    assert_int_equal(codes[2], KAFKA_ERROR_ILLEGAL_GENERATION);
    commit(&k, 7, "g", "", -1, kafka_string(NULL), codes);
    assert_int_equal(codes[0], KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* Null topics: all that a group has; several groups in one request, one of them unknown. */
static void offsets_of_several_groups_and_of_all_topics(void **state)
{
    struct kafka_offset_fetch_request m;
    struct kafka_offset_fetch_response r;
    struct kafka_offset_fetch_request_group groups[3];
    int16_t codes[3];
    commit(&k, 8, "a", "", -1, kafka_string(NULL), codes);
    commit(&k, 8, "b", "", -1, kafka_string("of b"), codes);
    kafka_offset_fetch_request_init(&m);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"a", "nobody", "b"};
        kafka_offset_fetch_request_group_init(&groups[i]);
        groups[i].group_id = kafka_string(names[i]);
        groups[i].topics_count = -1;
    }
    m.groups = groups;
    m.groups_count = 3;
    for (int16_t version = 8; version <= 9; version++) {
        kafka_door_ask(&k, KAFKA_API_OFFSET_FETCH, version, &m, &r);
        assert_int_equal(r.groups_count, 3);
        assert_text(r.groups[1].group_id, "nobody");
        assert_int_equal(r.groups[1].error_code, 0);
        assert_int_equal(r.groups[1].topics_count, 0);
        for (int i = 0; i < 3; i += 2) {
            assert_int_equal(r.groups[i].topics_count, 1);
            assert_text(r.groups[i].topics[0].name, "t");
            assert_int_equal(r.groups[i].topics[0].partitions_count, 2);
            assert_int_equal(r.groups[i].topics[0].partitions[0].partition_index, 2);
            assert_int_equal(r.groups[i].topics[0].partitions[1].partition_index, 3);
            assert_text(r.groups[i].topics[0].partitions[1].metadata, i == 0 ? "" : "of b");
        }
    }
    kafka_offset_fetch_request_init(&m);
    m.group_id = kafka_string("b");
    m.topics_count = -1;
    for (int16_t version = 2; version <= 7; version++) {
        kafka_door_ask(&k, KAFKA_API_OFFSET_FETCH, version, &m, &r);
        assert_int_equal(r.error_code, 0);
        assert_int_equal(r.topics_count, 1);
        assert_int_equal(r.topics[0].partitions_count, 2);
        assert_int_equal(r.topics[0].partitions[1].committed_offset, 40);
    }
}

static void offsets_are_deleted(void **state)
{
    struct kafka_offset_delete_request m;
    struct kafka_offset_delete_response r;
    struct kafka_offset_delete_request_partition partition = {3};
    struct kafka_offset_delete_request_topic topics[] = {{kafka_string("t"), &partition, 1},
                                                         {kafka_string("no such"), &partition, 1}};
    int16_t codes[3];
    int16_t top;
    kafka_offset_delete_request_init(&m);
    m.group_id = kafka_string("g");
    m.topics = topics;
    m.topics_count = 2;
    kafka_door_ask(&k, KAFKA_API_OFFSET_DELETE, 0, &m, &r);
    assert_int_equal(r.error_code, KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    commit(&k, 8, "g", "", -1, kafka_string(NULL), codes);
    kafka_door_ask(&k, KAFKA_API_OFFSET_DELETE, 0, &m, &r);
    assert_int_equal(r.error_code, 0);
    assert_int_equal(r.topics_count, 2);
    assert_int_equal(r.topics[0].partitions[0].partition_index, 3);
    assert_int_equal(r.topics[0].partitions[0].error_code, 0);
    assert_int_equal(r.topics[1].partitions[0].error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(fetch(&k, 8, "g", 3, &top).committed_offset, -1);
    assert_int_equal(fetch(&k, 8, "g", 2, &top).committed_offset, 41);
}

static void another_node_is_not_the_coordinator(void **state)
{
    unsigned coordinator = (unsigned)find(&k, 5, "g", 0).node_id;
    for (unsigned at = 1; at <= 3; at++) {
        struct kafka_door other;
        struct kafka_join_group_response joined;
        int16_t codes[3];
        int16_t top;
        if (at == coordinator) {
            continue;
        }
        kafka_door_open(&other, &d, at);
        assert_int_equal(find(&other, 0, "g", 0).node_id, coordinator); /* all say the same */
        join_send(&other, 9, "g", "", NULL);
        join_wait(&other, 9, &joined);
        assert_int_equal(joined.error_code, KAFKA_ERROR_NOT_COORDINATOR);
        assert_int_equal(heartbeat(&other, 4, "g", "m", 1), KAFKA_ERROR_NOT_COORDINATOR);
        commit(&other, 8, "g", "", -1, kafka_string(NULL), codes);
        assert_int_equal(codes[0], KAFKA_ERROR_NOT_COORDINATOR);
        for (int16_t version = 1; version <= 9; version++) {
            struct kafka_offset_fetch_response_group_partition part = fetch(&other, version, "g", 0, &top);
            assert_int_equal(version == 1 ? part.error_code : top, KAFKA_ERROR_NOT_COORDINATOR);
        }
        kafka_door_close(&other);
    }
}

/* A consumer that is closed while it waits for the others sends its leave behind its join, on the same connection. */
static void a_leave_gets_through_behind_a_parked_join(void **state)
{
    struct kafka_leave_group_request m;
    struct kafka_leave_group_response left;
    struct kafka_leave_group_request_member one;
    struct kafka_join_group_response r;
    struct kafka_door second;
    char first[GROUP_MEMBER_ID_MAX + 1];
    char member[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation = join(9, "g", first);
    assert_int_equal(sync(5, "g", first, generation), 0);
    kafka_door_open(&second, &d, 1);
    join_send(&second, 9, "g", "", NULL);
    join_wait(&second, 9, &r);
    assert_int_equal(r.error_code, KAFKA_ERROR_MEMBER_ID_REQUIRED);
    copy(r.member_id, member);
    join_send(&second, 9, "g", member, NULL); /* parks: the first one has not joined again */
    door_run(&d, 500);
    assert_int_equal(heartbeat(&k, 4, "g", first, generation), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    kafka_leave_group_request_init(&m);
    one = (struct kafka_leave_group_request_member){kafka_string(member), kafka_string(NULL), kafka_string("closed")};
    m.group_id = kafka_string("g");
    m.members = &one;
    m.members_count = 1;
    kafka_door_send(&second, KAFKA_API_LEAVE_GROUP, 5, &m);
    assert_true(kafka_door_wait(&second, KAFKA_API_JOIN_GROUP, 9, &r, 1000));
    assert_int_equal(r.error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_true(kafka_door_wait(&second, KAFKA_API_LEAVE_GROUP, 5, &left, 1000));
    assert_int_equal(left.members[0].error_code, 0);
    kafka_door_close(&second);
}

static void a_static_member_comes_back_under_its_instance(void **state)
{
    struct kafka_join_group_response r;
    char member[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation;
    join_send(&k, 9, "g", "", "instance-1");
    join_wait(&k, 9, &r);
    assert_int_equal(r.error_code, 0); /* no id is asked for first */
    assert_text(r.members[0].group_instance_id, "instance-1");
    copy(r.member_id, member);
    generation = r.generation_id;
    assert_int_equal(sync(5, "g", member, generation), 0);
    join_send(&k, 9, "g", "", "instance-1");
    join_wait(&k, 9, &r);
    assert_int_equal(r.error_code, 0);
    assert_int_equal(r.generation_id, generation); /* no rebalance */
    assert_true(r.skip_assignment);
    assert_int_equal(heartbeat(&k, 4, "g", member, generation), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* A parked join outlives its connection; nothing is sent, nothing is left behind. */
static void a_client_may_hang_up_while_it_waits(void **state)
{
    struct kafka_door going;
    struct kafka_join_group_response r;
    kafka_door_open(&going, &d, 1);
    join_send(&going, 3, "g", "", NULL);
    door_run(&d, 100);
    kafka_door_hang_up(&going);
    assert_false(going.idle);
    kafka_door_close(&going); /* waits until it is through */
    assert_true(list_empty(&going.answers));
    join_send(&k, 3, "g", "", NULL);
    join_wait(&k, 3, &r);
    assert_int_equal(r.error_code, 0);
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_all)
    const struct CMUnitTest tests[] = {
        ONE(the_coordinator_is_found_in_every_version),
        ONE(a_members_life_in_every_version),
        ONE(a_group_that_is_not_there_is_dead),
        ONE(lists_are_filtered_by_state_and_type),
        ONE(metadata_above_the_limit_is_refused_beside_the_others),
        ONE(an_error_of_a_whole_commit_is_told_of_each_partition),
        ONE(offsets_of_several_groups_and_of_all_topics),
        ONE(offsets_are_deleted),
        cmocka_unit_test_setup_teardown(another_node_is_not_the_coordinator, open_three, close_all),
        ONE(a_leave_gets_through_behind_a_parked_join),
        ONE(a_static_member_comes_back_under_its_instance),
        ONE(a_client_may_hang_up_while_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
