/* What members of a consumer group call: join, sync, heartbeat, leave. */
#include <stdlib.h>

#include "node/native/native_group.h"

/* ---- join ------------------------------------------------------------------------------------------------------- */

static void joined(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    const struct coordinator_join *join = &g->calls[0].op.u.join;
    Cairn__Native__JoinGroupResponse response = CAIRN__NATIVE__JOIN_GROUP_RESPONSE__INIT;
    void *block = NULL;
    void **members;

    if (join->request.error != 0) {
        group_request_fail(r, join->request.error, join->group, join->member_out);
        return;
    }
    members = group_messages_new(join->n_members, sizeof(Cairn__Native__JoinedMember), &block);
    if (members == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return;
    }
    for (uint32_t i = 0; i < join->n_members; i++) {
        Cairn__Native__JoinedMember *member = members[i];
        cairn__native__joined_member__init(member);
        member->member = group_text(join->members[i].id);
        member->instance = group_text(join->members[i].instance);
        member->metadata = group_bytes(join->members[i].metadata);
    }
    response.generation = join->generation;
    response.protocol_type = group_text(join->protocol_type_out);
    response.protocol = group_text(join->protocol);
    response.leader = group_text(join->leader);
    response.member = join->member_out != NULL ? group_text(join->member_out) : (char *)(uintptr_t)join->member;
    response.skip_assignment = join->skip_assignment;
    response.n_members = join->n_members;
    response.members = (Cairn__Native__JoinedMember **)members;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

int native_join_group(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__join_group_request__descriptor);
    const Cairn__Native__JoinGroupRequest *m = (const Cairn__Native__JoinGroupRequest *)(const void *)message;
    struct coordinator_protocol *protocols;
    struct coordinator_join *join;
    struct group_request *r = NULL;
    int rv = group_request_new(session, frame, message, 1, COORDINATOR_JOIN, &r);
    if (rv != 0) {
        return rv;
    }
    protocols = calloc(m->n_protocols + 1, sizeof *protocols);
    if (protocols == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return 0;
    }
    r->memory = protocols;
    for (size_t i = 0; i < m->n_protocols; i++) {
        protocols[i].name = m->protocols[i]->name;
        protocols[i].metadata = m->protocols[i]->metadata.data;
        protocols[i].size = (uint32_t)m->protocols[i]->metadata.len;
    }
    join = &r->groups->calls[0].op.u.join;
    join->group = m->group;
    join->member = m->member;
    join->instance = group_instance(m->instance);
    join->client_id = r->client;
    join->client_host = r->host;
    join->protocol_type = m->protocol_type;
    join->session_timeout_ms = m->session_timeout_ms;
    join->rebalance_timeout_ms = m->rebalance_timeout_ms == 0 ? -1 : m->rebalance_timeout_ms;
    join->protocols = protocols;
    join->n_protocols = (uint32_t)m->n_protocols;
    join->id_required = true;
    join->skip_assignment_known = true;
    group_request_ask(r, joined);
    return 0;
}

/* ---- sync ------------------------------------------------------------------------------------------------------- */

static void synced(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    const struct coordinator_sync *sync = &g->calls[0].op.u.sync;
    Cairn__Native__SyncGroupResponse response = CAIRN__NATIVE__SYNC_GROUP_RESPONSE__INIT;

    if (sync->request.error != 0) {
        group_request_fail(r, sync->request.error, sync->group, NULL);
        return;
    }
    response.protocol_type = group_text(sync->protocol_type_out);
    response.protocol = group_text(sync->protocol_out);
    response.assignment = group_bytes(sync->assignment);
    native_answer(&r->request, 0, &response.base, NULL);
}

int native_sync_group(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__sync_group_request__descriptor);
    const Cairn__Native__SyncGroupRequest *m = (const Cairn__Native__SyncGroupRequest *)(const void *)message;
    struct coordinator_assignment *assignments;
    struct coordinator_sync *sync;
    struct group_request *r = NULL;
    int rv = group_request_new(session, frame, message, 1, COORDINATOR_SYNC, &r);
    if (rv != 0) {
        return rv;
    }
    assignments = calloc(m->n_assignments + 1, sizeof *assignments);
    if (assignments == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return 0;
    }
    r->memory = assignments;
    for (size_t i = 0; i < m->n_assignments; i++) {
        assignments[i].member = m->assignments[i]->member;
        assignments[i].data = m->assignments[i]->assignment.data;
        assignments[i].size = (uint32_t)m->assignments[i]->assignment.len;
    }
    sync = &r->groups->calls[0].op.u.sync;
    sync->group = m->group;
    sync->member = m->member;
    sync->instance = group_instance(m->instance);
    sync->protocol_type = group_instance(m->protocol_type);
    sync->protocol = group_instance(m->protocol);
    sync->generation = m->generation;
    sync->assignments = assignments;
    sync->n_assignments = (uint32_t)m->n_assignments;
    group_request_ask(r, synced);
    return 0;
}

/* ---- heartbeat -------------------------------------------------------------------------------------------------- */

static void beaten(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    const struct coordinator_heartbeat *heartbeat = &g->calls[0].op.u.heartbeat;
    Cairn__Native__GroupHeartbeatResponse response = CAIRN__NATIVE__GROUP_HEARTBEAT_RESPONSE__INIT;

    if (heartbeat->request.error != 0) {
        group_request_fail(r, heartbeat->request.error, heartbeat->group, NULL);
        return;
    }
    native_answer(&r->request, 0, &response.base, NULL);
}

int native_group_heartbeat(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__group_heartbeat_request__descriptor);
    const Cairn__Native__GroupHeartbeatRequest *m = (const Cairn__Native__GroupHeartbeatRequest *)(const void *)message;
    struct coordinator_heartbeat *heartbeat;
    struct group_request *r = NULL;
    int rv = group_request_new(session, frame, message, 1, COORDINATOR_HEARTBEAT, &r);
    if (rv != 0) {
        return rv;
    }
    heartbeat = &r->groups->calls[0].op.u.heartbeat;
    heartbeat->group = m->group;
    heartbeat->member = m->member;
    heartbeat->instance = group_instance(m->instance);
    heartbeat->generation = m->generation;
    group_request_ask(r, beaten);
    return 0;
}

/* ---- leave ------------------------------------------------------------------------------------------------------ */

static void left(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    const struct coordinator_leave *leave = &g->calls[0].op.u.leave;
    Cairn__Native__LeaveGroupResponse response = CAIRN__NATIVE__LEAVE_GROUP_RESPONSE__INIT;
    void *block = NULL;
    void **results;

    if (leave->request.error != 0) {
        group_request_fail(r, leave->request.error, leave->group, NULL);
        return;
    }
    results = group_messages_new(leave->n_members, sizeof(Cairn__Native__GroupLeaverResult), &block);
    if (results == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return;
    }
    for (uint32_t i = 0; i < leave->n_members; i++) {
        const struct coordinator_leaver *leaver = &leave->members[i];
        Cairn__Native__GroupLeaverResult *result = results[i];
        cairn__native__group_leaver_result__init(result);
        result->member = (char *)(uintptr_t)leaver->member;
        result->instance = (char *)(uintptr_t)(leaver->instance == NULL ? "" : leaver->instance);
        result->error = (uint32_t)leaver->error;
    }
    response.n_members = leave->n_members;
    response.members = (Cairn__Native__GroupLeaverResult **)results;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

int native_leave_group(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__leave_group_request__descriptor);
    const Cairn__Native__LeaveGroupRequest *m = (const Cairn__Native__LeaveGroupRequest *)(const void *)message;
    struct coordinator_leaver *leavers;
    struct group_request *r = NULL;
    int rv = group_request_new(session, frame, message, 1, COORDINATOR_LEAVE, &r);
    if (rv != 0) {
        return rv;
    }
    leavers = calloc(m->n_members + 1, sizeof *leavers);
    if (leavers == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return 0;
    }
    r->memory = leavers;
    for (size_t i = 0; i < m->n_members; i++) {
        leavers[i].member = m->members[i]->member;
        leavers[i].instance = group_instance(m->members[i]->instance);
    }
    r->groups->calls[0].op.u.leave.group = m->group;
    r->groups->calls[0].op.u.leave.members = leavers;
    r->groups->calls[0].op.u.leave.n_members = (uint32_t)m->n_members;
    group_request_ask(r, left);
    return 0;
}
