/* The calls of consumer groups over the native wire: what each answers, and which errors it tells. What the coordinator
 * decides is test_service_group's and the state machine's tests' matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/service/service_group.h"
#include "tests/unit/node/door.h"

#define TEXT(s) ((char *)(uintptr_t)(s))
#define BYTES(s) ((ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)(s)})

static struct door d;
static struct uuid topic;
static struct uuid nowhere;
static struct door_conn *c;

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void *unpack(const struct door_answer *a, const ProtobufCMessageDescriptor *descriptor)
{
    void *m = protobuf_c_message_unpack(descriptor, NULL, a->header.message_length, a->message);
    assert_non_null(m);
    return m;
}

static struct door_answer *ask_at(struct door_conn *at, uint16_t call, const void *m)
{
    struct door_answer *a = door_wait(at, door_send(at, call, m, NULL, 0), 40000);
    assert_non_null(a);
    assert_int_equal(a->header.call, call);
    return a;
}

/* The response; with another status than @status the test fails. To be freed by freed(). */
static void *ask(uint16_t call, const void *m, int status, const ProtobufCMessageDescriptor *descriptor)
{
    struct door_answer *a = ask_at(c, call, m);
    void *out;
    assert_int_equal(a->header.status, status);
    out = unpack(a, status == 0 ? descriptor : &cairn__native__failure__descriptor);
    door_answer_free(a);
    return out;
}

static void freed(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static void refused(uint16_t call, const void *m, int status)
{
    Cairn__Native__Failure *f = ask(call, m, status, NULL);
    assert_true(f->text[0] != '\0');
    freed(f);
}

struct join {
    Cairn__Native__JoinGroupRequest m;
    Cairn__Native__GroupProtocol protocol;
    Cairn__Native__GroupProtocol *protocols[1];
};

static void join_init(struct join *j, const char *group, const char *member, const char *instance)
{
    cairn__native__join_group_request__init(&j->m);
    cairn__native__group_protocol__init(&j->protocol);
    j->m.group = TEXT(group);
    j->m.member = TEXT(member);
    j->m.instance = TEXT(instance);
    j->m.protocol_type = TEXT("consumer");
    j->m.session_timeout_ms = 10000;
    j->protocol.name = TEXT("range");
    j->protocol.metadata = BYTES("subscription");
    j->protocols[0] = &j->protocol;
    j->m.n_protocols = 1;
    j->m.protocols = j->protocols;
}

/* A new dynamic member is told its id first: as a failure that carries it. */
static void new_member(const char *group, char out[GROUP_MEMBER_ID_MAX + 1])
{
    struct join j;
    Cairn__Native__Failure *f;
    join_init(&j, group, "", "");
    f = ask(CALL_JOIN_GROUP, &j.m, ERR_MEMBER_ID_REQUIRED, NULL);
    assert_true(f->member[0] != '\0' && strlen(f->member) <= GROUP_MEMBER_ID_MAX);
    strcpy(out, f->member);
    freed(f);
}

static Cairn__Native__JoinGroupResponse *join_as(const char *group, const char *member, const char *instance)
{
    struct join j;
    join_init(&j, group, member, instance);
    return ask(CALL_JOIN_GROUP, &j.m, 0, &cairn__native__join_group_response__descriptor);
}

static int sync_as(const char *group, const char *member, int32_t generation, const char *assignment)
{
    Cairn__Native__SyncGroupRequest m = CAIRN__NATIVE__SYNC_GROUP_REQUEST__INIT;
    Cairn__Native__MemberAssignment one = CAIRN__NATIVE__MEMBER_ASSIGNMENT__INIT;
    Cairn__Native__MemberAssignment *all[] = {&one};
    struct door_answer *a;
    int status;
    m.group = TEXT(group);
    m.member = TEXT(member);
    m.generation = generation;
    if (assignment != NULL) {
        one.member = TEXT(member);
        one.assignment = BYTES(assignment);
        m.assignments = all;
        m.n_assignments = 1;
    }
    a = ask_at(c, CALL_SYNC_GROUP, &m);
    status = a->header.status;
    if (status == 0) {
        Cairn__Native__SyncGroupResponse *r = unpack(a, &cairn__native__sync_group_response__descriptor);
        assert_string_equal(r->protocol, "range");
        assert_string_equal(r->protocol_type, "consumer");
        if (assignment != NULL) {
            assert_int_equal(r->assignment.len, strlen(assignment));
            assert_memory_equal(r->assignment.data, assignment, r->assignment.len);
        }
        freed(r);
    }
    door_answer_free(a);
    return status;
}

/* A stable group of one, by the whole conversation. Returns its generation. */
static int32_t stable(const char *group, char member[GROUP_MEMBER_ID_MAX + 1])
{
    Cairn__Native__JoinGroupResponse *r;
    int32_t generation;
    new_member(group, member);
    r = join_as(group, member, "");
    generation = r->generation;
    assert_string_equal(r->member, member);
    assert_string_equal(r->leader, member);
    freed(r);
    assert_int_equal(sync_as(group, member, generation, "everything"), 0);
    return generation;
}

static int beat(const char *group, const char *member, int32_t generation)
{
    Cairn__Native__GroupHeartbeatRequest m = CAIRN__NATIVE__GROUP_HEARTBEAT_REQUEST__INIT;
    struct door_answer *a;
    int status;
    m.group = TEXT(group);
    m.member = TEXT(member);
    m.generation = generation;
    a = ask_at(c, CALL_GROUP_HEARTBEAT, &m);
    status = a->header.status;
    door_answer_free(a);
    return status;
}

static uint32_t leave(const char *group, const char *member, const char *instance)
{
    Cairn__Native__LeaveGroupRequest m = CAIRN__NATIVE__LEAVE_GROUP_REQUEST__INIT;
    Cairn__Native__GroupLeaver one = CAIRN__NATIVE__GROUP_LEAVER__INIT;
    Cairn__Native__GroupLeaver *all[] = {&one};
    Cairn__Native__LeaveGroupResponse *r;
    uint32_t error;
    m.group = TEXT(group);
    one.member = TEXT(member);
    one.instance = TEXT(instance);
    m.members = all;
    m.n_members = 1;
    r = ask(CALL_LEAVE_GROUP, &m, 0, &cairn__native__leave_group_response__descriptor);
    assert_int_equal(r->n_members, 1);
    assert_string_equal(r->members[0]->member, member);
    assert_string_equal(r->members[0]->instance, instance);
    error = r->members[0]->error;
    freed(r);
    return error;
}

struct commit {
    Cairn__Native__CommitOffsetsRequest m;
    Cairn__Native__CommitOffset parts[3];
    Cairn__Native__CommitOffset *pointers[3];
};

static void commit_init(struct commit *commit, const char *group, const char *member, int32_t generation)
{
    cairn__native__commit_offsets_request__init(&commit->m);
    commit->m.group = TEXT(group);
    commit->m.member = TEXT(member);
    commit->m.generation = generation;
    commit->m.offsets = commit->pointers;
}

static Cairn__Native__CommitOffset *commit_add(struct commit *commit, struct uuid *id, uint32_t partition,
                                               int64_t offset)
{
    Cairn__Native__CommitOffset *part = &commit->parts[commit->m.n_offsets];
    cairn__native__commit_offset__init(part);
    part->topic_id = (ProtobufCBinaryData){sizeof id->bytes, id->bytes};
    part->partition = partition;
    part->offset = offset;
    commit->pointers[commit->m.n_offsets++] = part;
    return part;
}

static Cairn__Native__FetchOffsetsResponse *fetch_all(const char *group)
{
    Cairn__Native__FetchOffsetsRequest m = CAIRN__NATIVE__FETCH_OFFSETS_REQUEST__INIT;
    m.group = TEXT(group);
    return ask(CALL_FETCH_OFFSETS, &m, 0, &cairn__native__fetch_offsets_response__descriptor);
}

static void commit_one(const char *group, const char *member, int32_t generation, uint32_t partition, int64_t offset)
{
    struct commit commit;
    Cairn__Native__CommitOffsetsResponse *r;
    commit_init(&commit, group, member, generation);
    commit_add(&commit, &topic, partition, offset);
    r = ask(CALL_COMMIT_OFFSETS, &commit.m, 0, &cairn__native__commit_offsets_response__descriptor);
    assert_int_equal(r->n_offsets, 1);
    assert_int_equal(r->offsets[0]->error, 0);
    freed(r);
}

static void find_until_found(const char *group)
{
    char *groups[] = {TEXT(group)};
    Cairn__Native__FindCoordinatorRequest m = CAIRN__NATIVE__FIND_COORDINATOR_REQUEST__INIT;
    bool found = false;
    m.groups = groups;
    m.n_groups = 1;
    for (int tries = 0; tries < 10 && !found; tries++) {
        Cairn__Native__FindCoordinatorResponse *r =
            ask(CALL_FIND_COORDINATOR, &m, 0, &cairn__native__find_coordinator_response__descriptor);
        found = r->coordinators[0]->error == 0;
        freed(r);
    }
    assert_true(found);
}

static int open_nodes(unsigned n)
{
    int rv;
    door_defaults(&d);
    door_open(&d, n);
    c = door_connect(&d, 1);
    rv = door_create_topic(&d, "t", 4, n, &topic);
    memset(&nowhere, 7, sizeof nowhere);
    find_until_found("g"); /* makes them all */
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
    door_close(&d);
    return 0;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void the_coordinators_are_found(void **state)
{
    char *groups[] = {TEXT("a"), TEXT("b"), TEXT("")};
    Cairn__Native__FindCoordinatorRequest m = CAIRN__NATIVE__FIND_COORDINATOR_REQUEST__INIT;
    Cairn__Native__FindCoordinatorResponse *r;
    m.groups = groups;
    m.n_groups = 3;
    r = ask(CALL_FIND_COORDINATOR, &m, 0, &cairn__native__find_coordinator_response__descriptor);
    assert_int_equal(r->n_coordinators, 3);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(r->coordinators[i]->group, groups[i]);
        assert_int_equal(r->coordinators[i]->error, 0);
        assert_int_equal(r->coordinators[i]->node, 1);
        assert_string_equal(r->coordinators[i]->address, "n1:9092");
    }
    assert_int_equal(r->coordinators[2]->error, ERR_INVALID_GROUP);
    assert_int_equal(r->coordinators[2]->node, 0);
    freed(r);
}

static void another_node_names_the_coordinator(void **state)
{
    static const char address[] = "n?:9092";
    char *groups[] = {TEXT("a")};
    Cairn__Native__FindCoordinatorRequest find = CAIRN__NATIVE__FIND_COORDINATOR_REQUEST__INIT;
    Cairn__Native__FindCoordinatorResponse *r;
    struct join j;
    uint32_t coordinator;
    find.groups = groups;
    find.n_groups = 1;
    r = ask(CALL_FIND_COORDINATOR, &find, 0, &cairn__native__find_coordinator_response__descriptor);
    coordinator = r->coordinators[0]->node;
    freed(r);
    assert_in_range(coordinator, 1, 3);
    join_init(&j, "a", "", "");
    for (unsigned id = 1; id <= 3; id++) {
        struct door_answer *a = ask_at(door_connect(&d, id), CALL_JOIN_GROUP, &j.m);
        Cairn__Native__Failure *f = unpack(a, &cairn__native__failure__descriptor);
        assert_int_equal(a->header.status, id == coordinator ? ERR_MEMBER_ID_REQUIRED : ERR_NOT_COORDINATOR);
        if (id != coordinator) {
            assert_int_equal(f->leader_node, coordinator);
            assert_int_equal(strlen(f->leader_address), strlen(address));
            assert_int_equal(f->leader_address[1], (char)('0' + coordinator));
        }
        freed(f);
        door_answer_free(a);
    }
}

static void a_member_joins_syncs_beats_and_leaves(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation = stable("g", member);
    assert_int_equal(beat("g", member, generation), 0);
    assert_int_equal(beat("g", member, generation + 1), ERR_ILLEGAL_GENERATION);
    assert_int_equal(beat("g", "stranger", generation), ERR_UNKNOWN_MEMBER);
    assert_int_equal(sync_as("g", member, generation + 1, NULL), ERR_ILLEGAL_GENERATION);
    assert_int_equal(leave("g", "stranger", ""), ERR_UNKNOWN_MEMBER);
    assert_int_equal(leave("g", member, ""), 0);
    assert_int_equal(beat("g", member, generation), ERR_UNKNOWN_MEMBER);
}

static void the_leader_is_told_everybody_and_the_others_nobody(void **state)
{
    char members[2][GROUP_MEMBER_ID_MAX + 1];
    Cairn__Native__JoinGroupResponse *r[2];
    struct join j[2];
    uint32_t correlations[2];
    unsigned leaders = 0;
    new_member("g", members[0]);
    new_member("g", members[1]);
    for (int i = 0; i < 2; i++) { /* both park */
        join_init(&j[i], "g", members[i], "");
        correlations[i] = door_send(c, CALL_JOIN_GROUP, &j[i].m.base, NULL, 0);
    }
    for (int i = 0; i < 2; i++) {
        struct door_answer *a = door_wait(c, correlations[i], 20000);
        assert_non_null(a);
        assert_int_equal(a->header.status, 0);
        r[i] = unpack(a, &cairn__native__join_group_response__descriptor);
        door_answer_free(a);
        assert_string_equal(r[i]->protocol, "range");
        assert_string_equal(r[i]->protocol_type, "consumer");
        assert_string_equal(r[i]->member, members[i]);
        if (strcmp(r[i]->leader, members[i]) == 0) {
            leaders++;
            assert_int_equal(r[i]->n_members, 2);
            assert_int_equal(r[i]->members[0]->metadata.len, strlen("subscription"));
            assert_memory_equal(r[i]->members[1]->metadata.data, "subscription", strlen("subscription"));
        } else {
            assert_int_equal(r[i]->n_members, 0);
        }
    }
    assert_int_equal(leaders, 1);
    assert_int_equal(r[0]->generation, r[1]->generation);
    freed(r[0]);
    freed(r[1]);
}

static void a_static_member_needs_no_id_and_is_found_by_its_instance(void **state)
{
    Cairn__Native__JoinGroupResponse *r = join_as("g", "", "instance-1");
    assert_int_equal(r->n_members, 1);
    assert_string_equal(r->members[0]->instance, "instance-1");
    freed(r);
    assert_int_equal(leave("g", "", "instance-2"), ERR_UNKNOWN_MEMBER);
    assert_int_equal(leave("g", "", "instance-1"), 0);
}

static void what_may_not_join_is_told_why(void **state)
{
    struct join j;
    join_init(&j, "", "", "");
    refused(CALL_JOIN_GROUP, &j.m, ERR_INVALID_GROUP);
    join_init(&j, "g", "nobody", "");
    refused(CALL_JOIN_GROUP, &j.m, ERR_UNKNOWN_MEMBER);
    join_init(&j, "g", "", "");
    j.m.session_timeout_ms = 1;
    refused(CALL_JOIN_GROUP, &j.m, ERR_INVALID_SESSION_TIMEOUT);
}

static void commits_come_back_as_they_were_made(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation = stable("g", member);
    struct commit commit;
    Cairn__Native__CommitOffsetsResponse *r;
    Cairn__Native__FetchOffsetsResponse *f;
    Cairn__Native__CommitOffset *part;
    uint8_t big[GROUP_COMMIT_METADATA_MAX + 1] = {0};

    commit_init(&commit, "g", member, generation);
    part = commit_add(&commit, &topic, 3, 42);
    part->leader_epoch = 5;
    part->metadata = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "a\0b\xff"
                                                                     "c"};
    commit_add(&commit, &nowhere, 0, 1);
    commit_add(&commit, &topic, 1, 2)->metadata = (ProtobufCBinaryData){sizeof big, big};
    r = ask(CALL_COMMIT_OFFSETS, &commit.m, 0, &cairn__native__commit_offsets_response__descriptor);
    assert_int_equal(r->n_offsets, 3);
    assert_int_equal(r->offsets[0]->error, 0);
    assert_int_equal(r->offsets[0]->partition, 3);
    assert_memory_equal(r->offsets[0]->topic_id.data, topic.bytes, sizeof topic.bytes);
    assert_int_equal(r->offsets[1]->error, ERR_UNKNOWN_TOPIC);
    assert_int_equal(r->offsets[2]->error, ERR_OFFSET_METADATA_TOO_BIG);
    freed(r);

    f = fetch_all("g");
    assert_int_equal(f->n_offsets, 1);
    assert_string_equal(f->offsets[0]->topic, "t");
    assert_int_equal(f->offsets[0]->partition, 3);
    assert_int_equal(f->offsets[0]->offset, 42);
    assert_int_equal(f->offsets[0]->leader_epoch, 5);
    assert_int_equal(f->offsets[0]->metadata.len, 5);
    assert_memory_equal(f->offsets[0]->metadata.data,
                        "a\0b\xff"
                        "c",
                        5);
    freed(f);
}

static void a_fetch_by_partition_answers_each_in_order(void **state)
{
    Cairn__Native__FetchOffsetsRequest m = CAIRN__NATIVE__FETCH_OFFSETS_REQUEST__INIT;
    Cairn__Native__GroupPartition parts[2] = {CAIRN__NATIVE__GROUP_PARTITION__INIT,
                                              CAIRN__NATIVE__GROUP_PARTITION__INIT};
    Cairn__Native__GroupPartition *pointers[] = {&parts[0], &parts[1]};
    Cairn__Native__FetchOffsetsResponse *f;
    commit_one("g", "", -1, 2, 7);
    parts[0].topic_id = parts[1].topic_id = (ProtobufCBinaryData){sizeof topic.bytes, topic.bytes};
    parts[0].partition = 3;
    parts[1].partition = 2;
    m.group = TEXT("g");
    m.partitions = pointers;
    m.n_partitions = 2;
    f = ask(CALL_FETCH_OFFSETS, &m, 0, &cairn__native__fetch_offsets_response__descriptor);
    assert_int_equal(f->n_offsets, 2);
    assert_int_equal(f->offsets[0]->partition, 3);
    assert_int_equal(f->offsets[0]->offset, -1);
    assert_int_equal(f->offsets[1]->partition, 2);
    assert_int_equal(f->offsets[1]->offset, 7);
    freed(f);
    f = fetch_all("nobody has heard of it");
    assert_int_equal(f->n_offsets, 0);
    freed(f);
}

static void who_is_no_member_may_not_commit_beside_members(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation = stable("g", member);
    struct commit commit;
    commit_init(&commit, "g", "", -1);
    commit_add(&commit, &topic, 0, 1);
    refused(CALL_COMMIT_OFFSETS, &commit.m, ERR_UNKNOWN_MEMBER);
    commit_init(&commit, "g", member, generation - 1);
    commit_add(&commit, &topic, 0, 1);
    refused(CALL_COMMIT_OFFSETS, &commit.m, ERR_ILLEGAL_GENERATION);
}

static size_t listed(const char *state)
{
    Cairn__Native__ListGroupsRequest m = CAIRN__NATIVE__LIST_GROUPS_REQUEST__INIT;
    char *states[] = {TEXT(state)};
    Cairn__Native__ListGroupsResponse *r;
    size_t n;
    m.states = states;
    m.n_states = state == NULL ? 0 : 1;
    r = ask(CALL_LIST_GROUPS, &m, 0, &cairn__native__list_groups_response__descriptor);
    n = r->n_groups;
    for (size_t i = 0; i < n; i++) {
        bool members = strcmp(r->groups[i]->group, "with members") == 0;
        assert_string_equal(r->groups[i]->state, members ? "Stable" : "Empty");
        assert_string_equal(r->groups[i]->protocol_type, members ? "consumer" : "");
    }
    freed(r);
    return n;
}

static void groups_are_listed_by_state(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    assert_int_equal(listed(NULL), 0);
    stable("with members", member);
    commit_one("offsets alone", "", -1, 0, 1);
    assert_int_equal(listed(NULL), 2);
    assert_int_equal(listed("Stable"), 1);
    assert_int_equal(listed("Empty"), 1);
    assert_int_equal(listed("PreparingRebalance"), 0);
    assert_int_equal(listed("no such state"), 0);
}

static void groups_are_described_and_deleted(void **state)
{
    char *groups[] = {TEXT("g"), TEXT("unknown")};
    char member[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation = stable("g", member);
    Cairn__Native__DescribeGroupsRequest m = CAIRN__NATIVE__DESCRIBE_GROUPS_REQUEST__INIT;
    Cairn__Native__DeleteGroupsRequest del = CAIRN__NATIVE__DELETE_GROUPS_REQUEST__INIT;
    Cairn__Native__DescribeGroupsResponse *r;
    Cairn__Native__DeleteGroupsResponse *deleted;
    m.groups = del.groups = groups;
    m.n_groups = del.n_groups = 2;
    r = ask(CALL_DESCRIBE_GROUPS, &m, 0, &cairn__native__describe_groups_response__descriptor);
    assert_int_equal(r->n_groups, 2);
    assert_int_equal(r->groups[0]->error, 0);
    assert_string_equal(r->groups[0]->state, "Stable");
    assert_string_equal(r->groups[0]->protocol, "range");
    assert_string_equal(r->groups[0]->leader, member);
    assert_int_equal(r->groups[0]->generation, generation);
    assert_int_equal(r->groups[0]->coordinator_node, 1);
    assert_int_equal(r->groups[0]->n_members, 1);
    assert_string_equal(r->groups[0]->members[0]->member, member);
    assert_string_equal(r->groups[0]->members[0]->client_host, "/client"); /* a machine's name in this world */
    assert_int_equal(r->groups[0]->members[0]->assignment.len, strlen("everything"));
    assert_int_equal(r->groups[1]->error, ERR_GROUP_NOT_FOUND);
    assert_string_equal(r->groups[1]->group, "unknown");
    freed(r);

    for (int i = 0; i < 2; i++) {
        deleted = ask(CALL_DELETE_GROUPS, &del, 0, &cairn__native__delete_groups_response__descriptor);
        assert_int_equal(deleted->n_groups, 2);
        assert_int_equal(deleted->groups[0]->error, i == 0 ? ERR_NON_EMPTY_GROUP : 0);
        assert_int_equal(deleted->groups[1]->error, ERR_GROUP_NOT_FOUND);
        freed(deleted);
        if (i == 0) {
            assert_int_equal(leave("g", member, ""), 0);
        }
    }
    assert_int_equal(listed(NULL), 0);
}

static void offsets_are_deleted(void **state)
{
    Cairn__Native__DeleteOffsetsRequest m = CAIRN__NATIVE__DELETE_OFFSETS_REQUEST__INIT;
    Cairn__Native__GroupPartition part = CAIRN__NATIVE__GROUP_PARTITION__INIT;
    Cairn__Native__GroupPartition *parts[] = {&part};
    Cairn__Native__DeleteOffsetsResponse *r;
    Cairn__Native__FetchOffsetsResponse *f;
    m.group = TEXT("g");
    m.partitions = parts;
    m.n_partitions = 1;
    part.topic_id = (ProtobufCBinaryData){sizeof topic.bytes, topic.bytes};
    part.partition = 1;
    refused(CALL_DELETE_OFFSETS, &m, ERR_GROUP_NOT_FOUND);
    commit_one("g", "", -1, 0, 5);
    commit_one("g", "", -1, 1, 6);
    r = ask(CALL_DELETE_OFFSETS, &m, 0, &cairn__native__delete_offsets_response__descriptor);
    assert_int_equal(r->n_offsets, 1);
    assert_int_equal(r->offsets[0]->error, 0);
    freed(r);
    f = fetch_all("g");
    assert_int_equal(f->n_offsets, 1);
    assert_int_equal(f->offsets[0]->partition, 0);
    freed(f);
}

static void lag_is_told_in_records_and_time(void **state)
{
    char *groups[] = {TEXT("g"), TEXT("unknown")};
    Cairn__Native__GroupLagRequest m = CAIRN__NATIVE__GROUP_LAG_REQUEST__INIT;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(door_produce(c, &topic, 0, 100), 0);
        door_run(&d, 2000);
    }
    commit_one("g", "", -1, 0, 1);
    commit_one("g", "", -1, 1, 0);
    m.groups = groups;
    for (m.n_groups = 0; m.n_groups <= 2; m.n_groups += 2) { /* all, then by name */
        Cairn__Native__GroupLagResponse *r = ask(CALL_GROUP_LAG, &m, 0, &cairn__native__group_lag_response__descriptor);
        assert_int_equal(r->n_groups, m.n_groups == 0 ? 1 : 2);
        assert_string_equal(r->groups[0]->group, "g");
        assert_int_equal(r->groups[0]->error, 0);
        assert_int_equal(r->groups[0]->n_partitions, 2);
        for (size_t i = 0; i < 2; i++) {
            const Cairn__Native__PartitionLag *part = r->groups[0]->partitions[i];
            assert_int_equal(part->error, 0);
            assert_string_equal(part->topic, "t");
            assert_int_equal(part->offset, part->partition == 0 ? 1 : 0);
            assert_int_equal(part->end_offset, part->partition == 0 ? 3 : 0);
            assert_int_equal(part->lag, part->partition == 0 ? 2 : 0);
            if (part->partition == 0) { /* of the second record */
                assert_in_range(part->lag_ms, 3500, 5500);
            } else {
                assert_int_equal(part->lag_ms, 0);
            }
        }
        if (m.n_groups == 2) {
            assert_int_equal(r->groups[1]->error, ERR_GROUP_NOT_FOUND);
        }
        freed(r);
    }
}

/* A client that goes while its join is parked leaves nothing behind, and the group goes on. */
static void a_client_may_go_while_it_waits(void **state)
{
    char member[GROUP_MEMBER_ID_MAX + 1];
    struct door_conn *going = door_connect(&d, 1);
    struct join j;
    Cairn__Native__JoinGroupResponse *r;
    new_member("g", member);
    join_init(&j, "g", member, "");
    door_send(going, CALL_JOIN_GROUP, &j.m.base, NULL, 0);
    door_run(&d, 100);
    door_disconnect(going);
    door_run(&d, 100);
    r = join_as("g", member, ""); /* once more, as its client would */
    assert_string_equal(r->member, member);
    freed(r);
}

static bool is_stopped(void *data)
{
    return ((struct door_node *)data)->stopped;
}

/* Whoever waits is answered when the node ends in order, and leaves nothing behind when it is killed. */
static void the_node_may_end_while_somebody_waits(void **state)
{
    for (int kill = 0; kill < 2; kill++) {
        struct door_conn *waiting = door_connect(&d, 1);
        struct door_answer *a;
        struct join j;
        uint32_t correlation;
        join_init(&j, "g", "", "instance");
        correlation = door_send(waiting, CALL_JOIN_GROUP, &j.m.base, NULL, 0);
        door_run(&d, 100);
        if (kill) {
            door_kill(&d, 1);
            assert_true(door_until_ended(waiting, 1000));
            return;
        }
        door_stop(&d, 1);
        assert_true(door_until(&d, is_stopped, &d.nodes[0], 20000));
        a = door_wait(waiting, correlation, 100);
        assert_true(a == NULL || a->header.status == ERR_NOT_COORDINATOR || a->header.status == ERR_SHUTDOWN);
        if (a != NULL) {
            door_answer_free(a);
        }
        door_start(&d, 1);
        assert_int_not_equal(door_leader(&d, &topic, 0), 0);
        c = door_connect(&d, 1);
        find_until_found("g");
    }
}

static void what_names_no_group_closes_the_connection(void **state)
{
    static const uint16_t calls[] = {CALL_FIND_COORDINATOR, CALL_DESCRIBE_GROUPS, CALL_DELETE_GROUPS};
    Cairn__Native__FindCoordinatorRequest m = CAIRN__NATIVE__FIND_COORDINATOR_REQUEST__INIT; /* the others look alike */
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct door_conn *bad = door_connect(&d, 1);
        door_send(bad, calls[i], &m.base, NULL, 0);
        assert_true(door_until_ended(bad, 1000));
        assert_int_equal(d.closed_lines, i + 1);
    }
    assert_int_equal(listed(NULL), 0);
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_all)
    const struct CMUnitTest tests[] = {
        ONE(the_coordinators_are_found),
        cmocka_unit_test_setup_teardown(another_node_names_the_coordinator, open_three, close_all),
        ONE(a_member_joins_syncs_beats_and_leaves),
        ONE(the_leader_is_told_everybody_and_the_others_nobody),
        ONE(a_static_member_needs_no_id_and_is_found_by_its_instance),
        ONE(what_may_not_join_is_told_why),
        ONE(commits_come_back_as_they_were_made),
        ONE(a_fetch_by_partition_answers_each_in_order),
        ONE(who_is_no_member_may_not_commit_beside_members),
        ONE(groups_are_listed_by_state),
        ONE(groups_are_described_and_deleted),
        ONE(offsets_are_deleted),
        ONE(lag_is_told_in_records_and_time),
        ONE(a_client_may_go_while_it_waits),
        ONE(the_node_may_end_while_somebody_waits),
        ONE(what_names_no_group_closes_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
