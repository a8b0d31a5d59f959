#include "tests/unit/node/kafka_group_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct door d;
struct kafka_door k;
struct uuid topic;

int16_t version_near(int16_t key, int16_t version)
{
    const struct kafka_api *api = kafka_api_find(key);
    return version < api->version_min ? api->version_min : version > api->version_max ? api->version_max : version;
}

void assert_text(struct kafka_string s, const char *text)
{
    assert_int_equal(s.length, strlen(text));
    assert_memory_equal(s.data, text, strlen(text));
}

void copy_text(struct kafka_string s, char *out)
{
    assert_in_range(s.length, 0, GROUP_MEMBER_ID_MAX);
    memcpy(out, s.data, (size_t)s.length);
    out[s.length] = '\0';
}

struct kafka_find_coordinator_response_coordinator ask_find(struct kafka_door *at, int16_t version, const char *group,
                                                            int8_t type)
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

void ask_join_send(struct kafka_door *at, int16_t version, const char *group, const char *member, const char *instance)
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

void ask_join_wait(struct kafka_door *at, int16_t version, struct kafka_join_group_response *r)
{
    assert_true(kafka_door_wait(at, KAFKA_API_JOIN_GROUP, version, r, 40000));
}

/* A whole join of a new member of a new group: it leads. Returns the generation. */
int32_t ask_join(int16_t version, const char *group, char member[GROUP_MEMBER_ID_MAX + 1])
{
    struct kafka_join_group_response r;
    version = version_near(KAFKA_API_JOIN_GROUP, version);
    ask_join_send(&k, version, group, "", NULL);
    ask_join_wait(&k, version, &r);
    if (version >= 4) { /* KIP-394 */
        assert_int_equal(r.error_code, KAFKA_ERROR_MEMBER_ID_REQUIRED);
        assert_int_equal(r.generation_id, -1);
        assert_int_equal(r.protocol_name.length, version >= 7 ? -1 : 0);
        copy_text(r.member_id, member);
        assert_memory_equal(member, "tester-", 7);
        ask_join_send(&k, version, group, member, NULL);
        ask_join_wait(&k, version, &r);
        assert_text(r.member_id, member);
    }
    assert_int_equal(r.error_code, 0);
    copy_text(r.member_id, member);
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

int16_t ask_sync(int16_t version, const char *group, const char *member, int32_t generation)
{
    struct kafka_sync_group_request m;
    struct kafka_sync_group_response r;
    struct kafka_sync_group_request_assignment assignment = {kafka_string(member), BYTES("everything")};
    version = version_near(KAFKA_API_SYNC_GROUP, version);
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

int16_t ask_heartbeat(struct kafka_door *at, int16_t version, const char *group, const char *member, int32_t generation)
{
    struct kafka_heartbeat_request m;
    struct kafka_heartbeat_response r;
    version = version_near(KAFKA_API_HEARTBEAT, version);
    kafka_heartbeat_request_init(&m);
    m.group_id = kafka_string(group);
    m.member_id = kafka_string(member);
    m.generation_id = generation;
    kafka_door_ask(at, KAFKA_API_HEARTBEAT, version, &m, &r);
    return r.error_code;
}

/* The member's error, wherever the version tells it. */
int16_t ask_leave(int16_t version, const char *group, const char *member)
{
    struct kafka_leave_group_request m;
    struct kafka_leave_group_response r;
    struct kafka_leave_group_request_member one = {kafka_string(member), kafka_string(NULL), kafka_string(NULL)};
    version = version_near(KAFKA_API_LEAVE_GROUP, version);
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
void ask_commit(struct kafka_door *at, int16_t version, const char *group, const char *member, int32_t generation,
                struct kafka_string metadata, int16_t codes[3])
{
    struct kafka_offset_commit_request m;
    struct kafka_offset_commit_response r;
    struct kafka_offset_commit_request_partition parts[3];
    struct kafka_offset_commit_request_topic topics[2] = {{kafka_string("t"), parts, 2},
                                                          {kafka_string("no such"), &parts[2], 1}};
    version = version_near(KAFKA_API_OFFSET_COMMIT, version);
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
struct kafka_offset_fetch_response_group_partition ask_fetch(struct kafka_door *at, int16_t version, const char *group,
                                                             int32_t partition, int16_t *top)
{
    struct kafka_offset_fetch_request m;
    static struct kafka_offset_fetch_response r;
    struct kafka_offset_fetch_request_topic old = {kafka_string("t"), &partition, 1};
    struct kafka_offset_fetch_request_group_topic new = {kafka_string("t"), &partition, 1};
    struct kafka_offset_fetch_request_group one;
    struct kafka_offset_fetch_response_group_partition out = {0};
    version = version_near(KAFKA_API_OFFSET_FETCH, version);
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

struct kafka_describe_groups_response_group ask_describe(int16_t version, const char *group)
{
    struct kafka_describe_groups_request m;
    static struct kafka_describe_groups_response r;
    struct kafka_string groups[] = {kafka_string(group)};
    version = version_near(KAFKA_API_DESCRIBE_GROUPS, version);
    kafka_describe_groups_request_init(&m);
    m.groups = groups;
    m.groups_count = 1;
    m.include_authorized_operations = version >= 3;
    kafka_door_ask(&k, KAFKA_API_DESCRIBE_GROUPS, version, &m, &r);
    assert_int_equal(r.groups_count, 1);
    assert_text(r.groups[0].group_id, group);
    return r.groups[0];
}

int32_t ask_list(int16_t version, const char *state, const char *type)
{
    struct kafka_list_groups_request m;
    struct kafka_list_groups_response r;
    struct kafka_string states[] = {kafka_string(state)};
    struct kafka_string types[] = {kafka_string(type)};
    version = version_near(KAFKA_API_LIST_GROUPS, version);
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

int16_t ask_delete_group(int16_t version, const char *group)
{
    struct kafka_delete_groups_request m;
    struct kafka_delete_groups_response r;
    struct kafka_string groups[] = {kafka_string(group)};
    version = version_near(KAFKA_API_DELETE_GROUPS, version);
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
    assert_int_equal(ask_find(&k, 4, "g", 0).error_code, 0); /* makes the internal groups */
    return rv;
}

int open_one_node(void **state)
{
    return open_nodes(1);
}

int open_three_nodes(void **state)
{
    return open_nodes(3);
}

int close_nodes(void **state)
{
    kafka_door_close(&k);
    door_close(&d);
    return 0;
}
