/* What the coordinator said, as messages. */
#include "tests/unit/client/world_group_internal.h"

#include <assert.h>
#include <string.h>

#include "proto/native/calls.h"
#include "proto/native/native.pb-c.h"

static char *text(const struct group_blob *blob)
{
    return (char *)(uintptr_t)(blob != NULL ? blob->data : "");
}

static ProtobufCBinaryData bytes(struct group_blob *blob)
{
    return (ProtobufCBinaryData){.len = blob != NULL ? blob->size : 0,
                                 .data = blob != NULL ? (uint8_t *)blob->data : NULL};
}

static void answer_join(struct asked *a)
{
    const struct coordinator_join *join = &a->u.join;
    Cairn__Native__JoinGroupResponse m = CAIRN__NATIVE__JOIN_GROUP_RESPONSE__INIT;
    Cairn__Native__JoinedMember members[64];
    Cairn__Native__JoinedMember *pointers[64];

    assert(join->n_members <= 64);
    for (uint32_t i = 0; i < join->n_members; i++) {
        cairn__native__joined_member__init(&members[i]);
        members[i].member = text(join->members[i].id);
        members[i].instance = text(join->members[i].instance);
        members[i].metadata = bytes(join->members[i].metadata);
        pointers[i] = &members[i];
    }
    m.generation = join->generation;
    m.protocol_type = text(join->protocol_type_out);
    m.protocol = text(join->protocol);
    m.leader = text(join->leader);
    m.member = join->member_out != NULL ? text(join->member_out) : (char *)(uintptr_t)join->member;
    m.skip_assignment = join->skip_assignment;
    m.n_members = join->n_members;
    m.members = pointers;
    world_answer(a->group->w, a->to, &a->header, &m.base);
}

static void answer_sync(struct asked *a)
{
    Cairn__Native__SyncGroupResponse m = CAIRN__NATIVE__SYNC_GROUP_RESPONSE__INIT;

    m.assignment = bytes(a->u.sync.assignment);
    world_answer(a->group->w, a->to, &a->header, &m.base);
}

static void answer_commit(struct asked *a)
{
    const struct coordinator_commit *commit = &a->u.commit;
    Cairn__Native__CommitOffsetsResponse m = CAIRN__NATIVE__COMMIT_OFFSETS_RESPONSE__INIT;
    Cairn__Native__CommitOffsetResult results[WORLD_PARTITIONS_MAX];
    Cairn__Native__CommitOffsetResult *pointers[WORLD_PARTITIONS_MAX];

    for (uint32_t i = 0; i < commit->n_parts; i++) {
        cairn__native__commit_offset_result__init(&results[i]);
        results[i].topic_id.data = (uint8_t *)(uintptr_t)&commit->parts[i].topic;
        results[i].topic_id.len = 16;
        results[i].partition = (uint32_t)commit->parts[i].partition;
        results[i].error = (uint32_t)commit->parts[i].error;
        pointers[i] = &results[i];
    }
    m.n_offsets = commit->n_parts;
    m.offsets = pointers;
    world_answer(a->group->w, a->to, &a->header, &m.base);
}

static void answer_fetch(struct asked *a)
{
    const struct coordinator_fetch *fetch = &a->u.fetch;
    Cairn__Native__FetchOffsetsResponse m = CAIRN__NATIVE__FETCH_OFFSETS_RESPONSE__INIT;
    Cairn__Native__FetchedOffset offsets[WORLD_PARTITIONS_MAX];
    Cairn__Native__FetchedOffset *pointers[WORLD_PARTITIONS_MAX];

    for (uint32_t i = 0; i < fetch->n_parts; i++) {
        cairn__native__fetched_offset__init(&offsets[i]);
        offsets[i].topic_id.data = (uint8_t *)(uintptr_t)&fetch->parts[i].topic;
        offsets[i].topic_id.len = 16;
        offsets[i].topic = (char *)(uintptr_t)WORLD_TOPIC;
        offsets[i].partition = (uint32_t)fetch->parts[i].partition;
        offsets[i].offset = fetch->parts[i].offset;
        pointers[i] = &offsets[i];
    }
    m.n_offsets = fetch->n_parts;
    m.offsets = pointers;
    world_answer(a->group->w, a->to, &a->header, &m.base);
}

static void answer_describe(struct asked *a)
{
    const struct coordinator_describe *d = &a->u.describe;
    Cairn__Native__DescribeGroupsResponse m = CAIRN__NATIVE__DESCRIBE_GROUPS_RESPONSE__INIT;
    Cairn__Native__GroupDescription group = CAIRN__NATIVE__GROUP_DESCRIPTION__INIT;
    Cairn__Native__GroupDescription *groups = &group;
    Cairn__Native__DescribedMember members[64];
    Cairn__Native__DescribedMember *pointers[64];

    group.group = (char *)(uintptr_t)d->group;
    group.error = (uint32_t)d->request.error;
    group.state = (char *)(uintptr_t)coordinator_state_name(d->state);
    group.protocol_type = text(d->protocol_type);
    group.protocol = text(d->protocol);
    group.leader = text(d->leader);
    group.generation = d->generation;
    group.coordinator_node = a->group->node;
    assert(d->n_members <= 64);
    for (uint32_t i = 0; i < d->n_members; i++) {
        cairn__native__described_member__init(&members[i]);
        members[i].member = text(d->members[i].info.id);
        members[i].instance = text(d->members[i].info.instance);
        members[i].client_id = text(d->members[i].info.client_id);
        members[i].client_host = text(d->members[i].info.client_host);
        members[i].metadata = bytes(d->members[i].metadata);
        members[i].assignment = bytes(d->members[i].info.assignment);
        pointers[i] = &members[i];
    }
    group.n_members = d->n_members;
    group.members = pointers;
    m.n_groups = 1;
    m.groups = &groups;
    world_answer(a->group->w, a->to, &a->header, &m.base);
}

static void answer_delete(struct asked *a)
{
    Cairn__Native__DeleteGroupsResponse m = CAIRN__NATIVE__DELETE_GROUPS_RESPONSE__INIT;
    Cairn__Native__GroupResult result = CAIRN__NATIVE__GROUP_RESULT__INIT;
    Cairn__Native__GroupResult *results = &result;

    result.group = (char *)(uintptr_t)a->u.del.group;
    result.error = (uint32_t)a->u.del.request.error;
    m.n_groups = 1;
    m.groups = &results;
    world_answer(a->group->w, a->to, &a->header, &m.base);
}

static void answer_list(struct asked *a)
{
    const struct coordinator_list *list = &a->u.list;
    Cairn__Native__ListGroupsResponse m = CAIRN__NATIVE__LIST_GROUPS_RESPONSE__INIT;
    Cairn__Native__GroupSummary groups[16];
    Cairn__Native__GroupSummary *pointers[16];

    assert(list->n_groups <= 16);
    for (uint32_t i = 0; i < list->n_groups; i++) {
        cairn__native__group_summary__init(&groups[i]);
        groups[i].group = text(list->groups[i].id);
        groups[i].protocol_type = text(list->groups[i].protocol_type);
        groups[i].state = (char *)(uintptr_t)coordinator_state_name(list->groups[i].state);
        pointers[i] = &groups[i];
    }
    m.n_groups = list->n_groups;
    m.groups = pointers;
    world_answer(a->group->w, a->to, &a->header, &m.base);
}

void group_answer_failure(struct asked *a, int err)
{
    Cairn__Native__Failure m = CAIRN__NATIVE__FAILURE__INIT;
    const struct group_blob *member =
        a->header.call == CALL_JOIN_GROUP && err == ERR_MEMBER_ID_REQUIRED ? a->u.join.member_out : NULL;

    m.text = (char *)(uintptr_t)err_text(err);
    m.member = text(member);
    world_fail(a->group->w, a->to, &a->header, err, &m.base);
}

void group_answer(struct asked *a)
{
    Cairn__Native__GroupHeartbeatResponse beat = CAIRN__NATIVE__GROUP_HEARTBEAT_RESPONSE__INIT;
    Cairn__Native__LeaveGroupResponse left = CAIRN__NATIVE__LEAVE_GROUP_RESPONSE__INIT;

    switch (a->header.call) {
    case CALL_JOIN_GROUP:
        answer_join(a);
        break;
    case CALL_SYNC_GROUP:
        answer_sync(a);
        break;
    case CALL_GROUP_HEARTBEAT:
        world_answer(a->group->w, a->to, &a->header, &beat.base);
        break;
    case CALL_LEAVE_GROUP:
        world_answer(a->group->w, a->to, &a->header, &left.base);
        break;
    case CALL_COMMIT_OFFSETS:
        answer_commit(a);
        break;
    case CALL_FETCH_OFFSETS:
        answer_fetch(a);
        break;
    case CALL_DESCRIBE_GROUPS:
        answer_describe(a);
        break;
    case CALL_DELETE_GROUPS:
        answer_delete(a);
        break;
    case CALL_LIST_GROUPS:
        answer_list(a);
        break;
    default:
        assert(false);
    }
}
