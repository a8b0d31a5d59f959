/* DescribeGroups. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/describe_groups.h"

/* What a client may do with a group where nothing is forbidden, as bits of Kafka's operations: read 3, delete 6,
 * describe 8. */
#define GROUP_OPERATIONS (1 << 3 | 1 << 6 | 1 << 8)

struct describe_state {
    struct service_groups *calls;
    bool operations; /* wanted */
};

static void free_state(struct kafka_request *r)
{
    struct describe_state *state = r->state;
    service_groups_free(state->calls);
}

static bool fill_members(struct kafka_request *r, const struct coordinator_describe *describe,
                         struct kafka_describe_groups_response_group *out)
{
    out->members = kafka_alloc(r, describe->n_members, sizeof *out->members);
    if (out->members == NULL) {
        return false;
    }
    out->members_count = (int32_t)describe->n_members;
    for (uint32_t i = 0; i < describe->n_members; i++) {
        const struct coordinator_described *from = &describe->members[i];
        struct kafka_describe_groups_response_member *to = &out->members[i];
        to->member_id = kafka_group_string(from->info.id);
        to->group_instance_id = kafka_group_string_or_null(from->info.instance);
        to->client_id = kafka_group_string(from->info.client_id);
        to->client_host = kafka_group_string(from->info.client_host);
        to->member_metadata = kafka_group_bytes(from->metadata);
        to->member_assignment = kafka_group_bytes(from->info.assignment);
    }
    return true;
}

static bool fill(struct kafka_request *r, const struct coordinator_describe *describe,
                 struct kafka_describe_groups_response_group *out)
{
    const struct describe_state *state = r->state;
    int error = describe->request.error;

    out->group_id = kafka_string(describe->group);
    out->error_message = kafka_string(NULL);
    out->group_state = kafka_string("");
    out->protocol_type = kafka_string("");
    out->protocol_data = kafka_string("");
    out->authorized_operations = INT32_MIN;
    if (error == 0) {
        out->group_state = kafka_string(coordinator_state_name(describe->state));
        out->protocol_type = kafka_group_string(describe->protocol_type);
        out->protocol_data = kafka_group_string(describe->protocol);
        out->authorized_operations = state->operations && r->version >= 3 ? GROUP_OPERATIONS : INT32_MIN;
        return fill_members(r, describe, out);
    }
    out->error_code = kafka_group_error(error);
    if (error == ERR_GROUP_NOT_FOUND) {
        out->group_state = kafka_string(coordinator_state_name(COORDINATOR_DEAD));
    }
    if (error == ERR_GROUP_NOT_FOUND && r->version < 6) {
        out->error_code = 0; /* before KIP-1043 a dead group is how this is said */
    } else if (r->version >= 6) {
        out->error_message = kafka_string(err_text(error));
    }
    return true;
}

static void described(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    struct kafka_describe_groups_response response;
    bool ok;

    kafka_describe_groups_response_init(&response);
    response.groups = kafka_alloc(r, g->n, sizeof *response.groups);
    response.groups_count = (int32_t)g->n;
    ok = response.groups != NULL;
    for (uint32_t i = 0; ok && i < g->n; i++) {
        ok = fill(r, &g->calls[i].op.u.describe, &response.groups[i]);
    }
    if (!ok) {
        kafka_drop(r);
        return;
    }
    kafka_answer(r, &response);
}

int kafka_describe_groups(struct kafka_request *r)
{
    struct describe_state *state = kafka_alloc(r, 1, sizeof *state);
    struct kafka_describe_groups_request m;
    bool ok = true;
    int rv = kafka_describe_groups_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    if (m.groups_count > (int32_t)SERVICE_GROUPS_MAX) {
        return ERR_TOO_BIG;
    }
    if (state == NULL) {
        return ERR_NOMEM;
    }
    state->operations = m.include_authorized_operations;
    state->calls = kafka_group_calls(r, (uint32_t)m.groups_count, COORDINATOR_DESCRIBE);
    if (state->calls == NULL) {
        return ERR_NOMEM;
    }
    r->state = state;
    r->cleanup = free_state;
    for (int32_t i = 0; i < m.groups_count; i++) {
        state->calls->calls[i].op.u.describe.group = kafka_group_text(r, m.groups[i], &ok);
    }
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, state->calls, described);
    return 0;
}
