/* The group APIs in every version that is spoken: what each says, where, and by which of Kafka's codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/node/kafka_group_calls.h"

static void the_coordinator_is_found_in_every_version(void **state)
{
    for (int16_t version = 0; version <= 5; version++) {
        struct kafka_find_coordinator_response_coordinator c = ask_find(&k, version, "g", 0);
        assert_int_equal(c.error_code, 0);
        assert_int_equal(c.node_id, 1);
        assert_text(c.host, "n1");
        assert_int_equal(c.port, 9092);
        if (version >= 1) { /* of transactions: there are none yet */
            c = ask_find(&k, version, "g", 1);
            assert_int_equal(c.error_code, KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
            assert_int_equal(c.node_id, -1);
            assert_true(c.error_message.length > 0);
            assert_int_equal(ask_find(&k, version, "g", 2).error_code, KAFKA_ERROR_INVALID_REQUEST);
        }
        c = ask_find(&k, version, "", 0);
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
        generation = ask_join(version, group, member);
        assert_int_equal(ask_sync(version, group, member, generation + 1), KAFKA_ERROR_ILLEGAL_GENERATION);
        assert_int_equal(ask_sync(version, group, member, generation), 0);
        assert_int_equal(ask_heartbeat(&k, version, group, member, generation), 0);
        assert_int_equal(ask_heartbeat(&k, version, group, member, generation + 1), KAFKA_ERROR_ILLEGAL_GENERATION);
        assert_int_equal(ask_heartbeat(&k, version, group, "stranger", generation), KAFKA_ERROR_UNKNOWN_MEMBER_ID);

        ask_commit(&k, version, group, member, generation, kafka_string("grüß dich"), codes);
        assert_int_equal(codes[0], 0);
        assert_int_equal(codes[1], 0);
        assert_int_equal(codes[2], KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        part = ask_fetch(&k, version, group, 3, &top);
        assert_int_equal(top, 0);
        assert_int_equal(part.error_code, 0);
        assert_int_equal(part.committed_offset, 40);
        assert_text(part.metadata, "grüß dich");
        if (version >= 6) {
            assert_int_equal(part.committed_leader_epoch, 5);
        }
        part = ask_fetch(&k, version, group, 2, &top);
        assert_int_equal(part.committed_offset, 41);
        assert_text(part.metadata, "");
        part = ask_fetch(&k, version, group, 1, &top);
        assert_int_equal(part.committed_offset, -1);
        assert_int_equal(part.error_code, 0);

        described = ask_describe(version, group);
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

        assert_int_equal(ask_list(version, NULL, NULL), 1);
        assert_int_equal(ask_delete_group(version, group), KAFKA_ERROR_NON_EMPTY_GROUP);
        assert_int_equal(ask_leave(version, group, "stranger"), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
        assert_int_equal(ask_leave(version, group, member), 0);
        assert_int_equal(ask_heartbeat(&k, version, group, member, generation), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
        assert_int_equal(ask_delete_group(version, group), 0);
        assert_int_equal(ask_delete_group(version, group), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
        assert_int_equal(ask_list(version, NULL, NULL), 0);
    }
}

static void a_group_that_is_not_there_is_dead(void **state)
{
    for (int16_t version = 0; version <= 6; version++) {
        struct kafka_describe_groups_response_group g = ask_describe(version, "nobody");
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
    int32_t generation = ask_join(9, "with a member", member);
    assert_int_equal(ask_sync(5, "with a member", member, generation), 0);
    ask_commit(&k, 9, "offsets alone", "", -1, kafka_string(NULL), codes);
    assert_int_equal(codes[0], 0);
    assert_int_equal(ask_list(4, "Stable", NULL), 1);
    assert_int_equal(ask_list(4, "stable", NULL), 1);
    assert_int_equal(ask_list(4, "Empty", NULL), 1);
    assert_int_equal(ask_list(4, "PreparingRebalance", NULL), 0);
    assert_int_equal(ask_list(4, "Assigning", NULL), 0); /* of the other protocol's groups */
    assert_int_equal(ask_list(5, NULL, "classic"), 2);
    assert_int_equal(ask_list(5, NULL, "consumer"), 0);
    assert_int_equal(ask_list(5, "Empty", "Classic"), 1);
}

static void metadata_above_the_limit_is_refused_beside_the_others(void **state)
{
    char big[GROUP_COMMIT_METADATA_MAX + 1];
    int16_t codes[3];
    memset(big, 'm', sizeof big);
    ask_commit(&k, 8, "g", "", -1, (struct kafka_string){big, sizeof big}, codes);
    assert_int_equal(codes[0], KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(codes[1], 0);
    ask_commit(&k, 8, "g", "", -1, (struct kafka_string){big, sizeof big - 1}, codes);
    assert_int_equal(codes[0], 0);
}

static void an_error_of_a_whole_commit_is_told_of_each_partition(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    int16_t codes[3];
    int32_t generation = ask_join(9, "g", member);
    assert_int_equal(ask_sync(5, "g", member, generation), 0);
    ask_commit(&k, 7, "g", member, generation + 1, kafka_string(NULL), codes);
    assert_int_equal(codes[0], KAFKA_ERROR_ILLEGAL_GENERATION);
    assert_int_equal(codes[1], KAFKA_ERROR_ILLEGAL_GENERATION);
    assert_int_equal(codes[2], KAFKA_ERROR_ILLEGAL_GENERATION);
    ask_commit(&k, 7, "g", "", -1, kafka_string(NULL), codes);
    assert_int_equal(codes[0], KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* Null topics: all that a group has; several groups in one request, one of them unknown. */
static void offsets_of_several_groups_and_of_all_topics(void **state)
{
    struct kafka_offset_fetch_request m;
    struct kafka_offset_fetch_response r;
    struct kafka_offset_fetch_request_group groups[3];
    int16_t codes[3];
    ask_commit(&k, 8, "a", "", -1, kafka_string(NULL), codes);
    ask_commit(&k, 8, "b", "", -1, kafka_string("of b"), codes);
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
    ask_commit(&k, 8, "g", "", -1, kafka_string(NULL), codes);
    kafka_door_ask(&k, KAFKA_API_OFFSET_DELETE, 0, &m, &r);
    assert_int_equal(r.error_code, 0);
    assert_int_equal(r.topics_count, 2);
    assert_int_equal(r.topics[0].partitions[0].partition_index, 3);
    assert_int_equal(r.topics[0].partitions[0].error_code, 0);
    assert_int_equal(r.topics[1].partitions[0].error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(ask_fetch(&k, 8, "g", 3, &top).committed_offset, -1);
    assert_int_equal(ask_fetch(&k, 8, "g", 2, &top).committed_offset, 41);
}

static void another_node_is_not_the_coordinator(void **state)
{
    unsigned coordinator = (unsigned)ask_find(&k, 5, "g", 0).node_id;
    for (unsigned at = 1; at <= 3; at++) {
        struct kafka_door other;
        struct kafka_join_group_response joined;
        int16_t codes[3];
        int16_t top;
        if (at == coordinator) {
            continue;
        }
        kafka_door_open(&other, &d, at);
        assert_int_equal(ask_find(&other, 0, "g", 0).node_id, coordinator); /* all say the same */
        ask_join_send(&other, 9, "g", "", NULL);
        ask_join_wait(&other, 9, &joined);
        assert_int_equal(joined.error_code, KAFKA_ERROR_NOT_COORDINATOR);
        assert_int_equal(ask_heartbeat(&other, 4, "g", "m", 1), KAFKA_ERROR_NOT_COORDINATOR);
        ask_commit(&other, 8, "g", "", -1, kafka_string(NULL), codes);
        assert_int_equal(codes[0], KAFKA_ERROR_NOT_COORDINATOR);
        for (int16_t version = 1; version <= 9; version++) {
            struct kafka_offset_fetch_response_group_partition part = ask_fetch(&other, version, "g", 0, &top);
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
    int32_t generation = ask_join(9, "g", first);
    assert_int_equal(ask_sync(5, "g", first, generation), 0);
    kafka_door_open(&second, &d, 1);
    ask_join_send(&second, 9, "g", "", NULL);
    ask_join_wait(&second, 9, &r);
    assert_int_equal(r.error_code, KAFKA_ERROR_MEMBER_ID_REQUIRED);
    copy_text(r.member_id, member);
    ask_join_send(&second, 9, "g", member, NULL); /* parks: the first one has not joined again */
    door_run(&d, 500);
    assert_int_equal(ask_heartbeat(&k, 4, "g", first, generation), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
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
    ask_join_send(&k, 9, "g", "", "instance-1");
    ask_join_wait(&k, 9, &r);
    assert_int_equal(r.error_code, 0); /* no id is asked for first */
    assert_text(r.members[0].group_instance_id, "instance-1");
    copy_text(r.member_id, member);
    generation = r.generation_id;
    assert_int_equal(ask_sync(5, "g", member, generation), 0);
    ask_join_send(&k, 9, "g", "", "instance-1");
    ask_join_wait(&k, 9, &r);
    assert_int_equal(r.error_code, 0);
    assert_int_equal(r.generation_id, generation); /* no rebalance */
    assert_true(r.skip_assignment);
    assert_int_equal(ask_heartbeat(&k, 4, "g", member, generation), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* A parked join outlives its connection; nothing is sent, nothing is left behind. */
static void a_client_may_hang_up_while_it_waits(void **state)
{
    struct kafka_door going;
    struct kafka_join_group_response r;
    kafka_door_open(&going, &d, 1);
    ask_join_send(&going, 3, "g", "", NULL);
    door_run(&d, 100);
    kafka_door_hang_up(&going);
    assert_false(going.idle);
    kafka_door_close(&going); /* waits until it is through */
    assert_true(list_empty(&going.answers));
    ask_join_send(&k, 3, "g", "", NULL);
    ask_join_wait(&k, 3, &r);
    assert_int_equal(r.error_code, 0);
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one_node, close_nodes)
    const struct CMUnitTest tests[] = {
        ONE(the_coordinator_is_found_in_every_version),
        ONE(a_members_life_in_every_version),
        ONE(a_group_that_is_not_there_is_dead),
        ONE(lists_are_filtered_by_state_and_type),
        ONE(metadata_above_the_limit_is_refused_beside_the_others),
        ONE(an_error_of_a_whole_commit_is_told_of_each_partition),
        ONE(offsets_of_several_groups_and_of_all_topics),
        ONE(offsets_are_deleted),
        cmocka_unit_test_setup_teardown(another_node_is_not_the_coordinator, open_three_nodes, close_nodes),
        ONE(a_leave_gets_through_behind_a_parked_join),
        ONE(a_static_member_comes_back_under_its_instance),
        ONE(a_client_may_hang_up_while_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
