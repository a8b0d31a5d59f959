/* What administrators ask about consumer groups: list, describe, delete. */
#include <stdlib.h>
#include <string.h>

#include "node/native/native_group.h"

/* ---- list ------------------------------------------------------------------------------------------------------- */

struct list_groups_request {
    struct native_request request;
    struct service_list_groups list;
};

static void list_groups_free(struct native_request *request)
{
    struct list_groups_request *r = container_of(request, struct list_groups_request, request);
    service_list_groups_close(&r->list);
    free(r);
}

static void listed(struct service_list_groups *l)
{
    struct list_groups_request *r = container_of(l, struct list_groups_request, list);
    Cairn__Native__ListGroupsResponse response = CAIRN__NATIVE__LIST_GROUPS_RESPONSE__INIT;
    size_t n = 0;
    void *block = NULL;
    void **summaries;

    if (l->error != 0) {
        native_fail(&r->request, l->error, NULL);
        return;
    }
    for (uint32_t i = 0; l->groups != NULL && i < l->groups->n; i++) {
        n += l->groups->calls[i].op.u.list.n_groups;
    }
    summaries = group_messages_new(n, sizeof(Cairn__Native__GroupSummary), &block);
    if (summaries == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return;
    }
    for (uint32_t i = 0; l->groups != NULL && i < l->groups->n; i++) {
        const struct coordinator_list *list = &l->groups->calls[i].op.u.list;
        for (uint32_t k = 0; k < list->n_groups; k++) {
            Cairn__Native__GroupSummary *summary = summaries[response.n_groups++];
            cairn__native__group_summary__init(summary);
            summary->group = group_text(list->groups[k].id);
            summary->protocol_type = group_text(list->groups[k].protocol_type);
            summary->state = (char *)(uintptr_t)coordinator_state_name(list->groups[k].state);
        }
    }
    response.groups = (Cairn__Native__GroupSummary **)summaries;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

/* Bits of the states that are named. A name that is no state matches nothing: the bit of DEAD, which no group here has.
 */
static uint32_t states_of(char *const *names, size_t n)
{
    uint32_t states = 0;
    for (size_t i = 0; i < n; i++) {
        enum coordinator_state state = COORDINATOR_EMPTY;
        while (state != COORDINATOR_DEAD && strcmp(names[i], coordinator_state_name(state)) != 0) {
            state++;
        }
        states |= 1u << state;
    }
    return states;
}

int native_list_groups(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__ListGroupsRequest *m =
        cairn__native__list_groups_request__unpack(NULL, frame->header.message_length, frame->message);
    struct list_groups_request *r;

    if (m == NULL) {
        return ERR_MALFORMED;
    }
    r = native_request_new(session, frame, sizeof *r);
    if (r != NULL) {
        r->request.free = list_groups_free;
        r->list.ctx = &session->ctx;
        r->list.states = states_of(m->states, m->n_states);
        r->list.done = listed;
    }
    cairn__native__list_groups_request__free_unpacked(m, NULL);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    service_list_groups(session->service, &r->list);
    return 0;
}

/* ---- describe --------------------------------------------------------------------------------------------------- */

static void fill_members(const struct coordinator_describe *describe, void **members)
{
    for (uint32_t k = 0; k < describe->n_members; k++) {
        const struct coordinator_described *from = &describe->members[k];
        Cairn__Native__DescribedMember *member = members[k];
        cairn__native__described_member__init(member);
        member->member = group_text(from->info.id);
        member->instance = group_text(from->info.instance);
        member->client_id = group_text(from->info.client_id);
        member->client_host = group_text(from->info.client_host);
        member->metadata = group_bytes(from->metadata);
        member->assignment = group_bytes(from->info.assignment);
    }
}

static void described(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    struct native_session *session = r->request.session;
    Cairn__Native__DescribeGroupsResponse response = CAIRN__NATIVE__DESCRIBE_GROUPS_RESPONSE__INIT;
    size_t n = 0;
    void *block = NULL;
    void *member_block = NULL;
    void **groups = group_messages_new(g->n, sizeof(Cairn__Native__GroupDescription), &block);
    void **members;

    for (uint32_t i = 0; i < g->n; i++) {
        n += g->calls[i].op.u.describe.n_members;
    }
    members = group_messages_new(n, sizeof(Cairn__Native__DescribedMember), &member_block);
    if (groups == NULL || members == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        goto out;
    }
    for (uint32_t i = 0; i < g->n; i++) {
        const struct coordinator_describe *describe = &g->calls[i].op.u.describe;
        Cairn__Native__GroupDescription *group = groups[i];
        cairn__native__group_description__init(group);
        group->group = (char *)(uintptr_t)describe->group;
        group->error = (uint32_t)describe->request.error;
        group->coordinator_node = service_coordinator_of(session->service, describe->group);
        if (group->error != 0) {
            continue;
        }
        fill_members(describe, members);
        group->state = (char *)(uintptr_t)coordinator_state_name(describe->state);
        group->protocol_type = group_text(describe->protocol_type);
        group->protocol = group_text(describe->protocol);
        group->leader = group_text(describe->leader);
        group->generation = describe->generation;
        group->n_members = describe->n_members;
        group->members = (Cairn__Native__DescribedMember **)members;
        members += describe->n_members;
    }
    response.n_groups = g->n;
    response.groups = (Cairn__Native__GroupDescription **)groups;
    native_answer(&r->request, 0, &response.base, NULL);
out:
    free(member_block);
    free(block);
}

int native_describe_groups(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__describe_groups_request__descriptor);
    const Cairn__Native__DescribeGroupsRequest *m = (const Cairn__Native__DescribeGroupsRequest *)(const void *)message;
    struct group_request *r = NULL;
    int rv;
    if (m != NULL && (m->n_groups == 0 || m->n_groups > SERVICE_GROUPS_MAX)) {
        protobuf_c_message_free_unpacked(message, NULL);
        return ERR_MALFORMED;
    }
    rv = group_request_new(session, frame, message, m == NULL ? 0 : (uint32_t)m->n_groups, COORDINATOR_DESCRIBE, &r);
    if (rv != 0) {
        return rv;
    }
    for (size_t i = 0; i < m->n_groups; i++) {
        r->groups->calls[i].op.u.describe.group = m->groups[i];
    }
    group_request_ask(r, described);
    return 0;
}

/* ---- delete ----------------------------------------------------------------------------------------------------- */

static void deleted(struct service_groups *g)
{
    struct group_request *r = group_request_of(g);
    Cairn__Native__DeleteGroupsResponse response = CAIRN__NATIVE__DELETE_GROUPS_RESPONSE__INIT;
    void *block = NULL;
    void **results = group_messages_new(g->n, sizeof(Cairn__Native__GroupResult), &block);

    if (results == NULL) {
        native_fail(&r->request, ERR_UNKNOWN_OUTCOME, NULL);
        return;
    }
    for (uint32_t i = 0; i < g->n; i++) {
        Cairn__Native__GroupResult *result = results[i];
        cairn__native__group_result__init(result);
        result->group = (char *)(uintptr_t)g->calls[i].op.u.del.group;
        result->error = (uint32_t)service_group_error(&g->calls[i]);
    }
    response.n_groups = g->n;
    response.groups = (Cairn__Native__GroupResult **)results;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

int native_delete_groups(struct native_session *session, const struct frame *frame)
{
    ProtobufCMessage *message = group_unpack(frame, &cairn__native__delete_groups_request__descriptor);
    const Cairn__Native__DeleteGroupsRequest *m = (const Cairn__Native__DeleteGroupsRequest *)(const void *)message;
    struct group_request *r = NULL;
    int rv;
    if (m != NULL && (m->n_groups == 0 || m->n_groups > SERVICE_GROUPS_MAX)) {
        protobuf_c_message_free_unpacked(message, NULL);
        return ERR_MALFORMED;
    }
    rv = group_request_new(session, frame, message, m == NULL ? 0 : (uint32_t)m->n_groups, COORDINATOR_DELETE, &r);
    if (rv != 0) {
        return rv;
    }
    for (size_t i = 0; i < m->n_groups; i++) {
        r->groups->calls[i].op.u.del.group = m->groups[i];
    }
    group_request_ask(r, deleted);
    return 0;
}
