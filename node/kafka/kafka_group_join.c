/* JoinGroup. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/join_group.h"

static void joined(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    const struct coordinator_join *join = &g->calls[0].op.u.join;
    struct kafka_join_group_response response;

    kafka_join_group_response_init(&response);
    response.error_code = kafka_group_error(join->request.error);
    response.member_id = join->member_out != NULL ? kafka_group_string(join->member_out) : kafka_string(join->member);
    if (join->request.error != 0) {
        response.protocol_name = kafka_string(r->version >= 7 ? NULL : "");
        response.leader = kafka_string("");
        kafka_answer(r, &response);
        return;
    }
    response.generation_id = join->generation;
    response.protocol_type = kafka_group_string(join->protocol_type_out);
    response.protocol_name = kafka_group_string(join->protocol);
    response.leader = kafka_group_string(join->leader);
    response.skip_assignment = join->skip_assignment;
    response.members = kafka_alloc(r, join->n_members, sizeof *response.members);
    if (response.members == NULL) {
        kafka_drop(r);
        return;
    }
    response.members_count = (int32_t)join->n_members;
    for (uint32_t i = 0; i < join->n_members; i++) {
        response.members[i].member_id = kafka_group_string(join->members[i].id);
        response.members[i].group_instance_id = kafka_group_string_or_null(join->members[i].instance);
        response.members[i].metadata = kafka_group_bytes(join->members[i].metadata);
    }
    kafka_answer(r, &response);
}

int kafka_join_group(struct kafka_request *r)
{
    struct kafka_join_group_request m;
    struct coordinator_protocol *protocols;
    struct service_groups *g;
    struct coordinator_join *join;
    bool ok = true;
    int rv = kafka_join_group_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    g = kafka_group_calls(r, 1, COORDINATOR_JOIN);
    protocols = kafka_alloc(r, (size_t)m.protocols_count, sizeof *protocols);
    if (g == NULL || protocols == NULL) {
        return ERR_NOMEM;
    }
    for (int32_t i = 0; i < m.protocols_count; i++) {
        protocols[i].name = kafka_group_text(r, m.protocols[i].name, &ok);
        protocols[i].metadata = m.protocols[i].metadata.data;
        protocols[i].size = (uint32_t)m.protocols[i].metadata.length;
    }
    join = &g->calls[0].op.u.join;
    join->group = kafka_group_text(r, m.group_id, &ok);
    join->member = kafka_group_text(r, m.member_id, &ok);
    join->instance = kafka_group_optional(r, m.group_instance_id, &ok);
    join->client_id = kafka_group_text(r, r->header.client_id, &ok);
    join->client_host = kafka_group_host(r, &ok);
    join->protocol_type = kafka_group_text(r, m.protocol_type, &ok);
    join->session_timeout_ms = m.session_timeout_ms;
    join->rebalance_timeout_ms = m.rebalance_timeout_ms; /* -1 in version 0: the session timeout */
    join->protocols = protocols;
    join->n_protocols = (uint32_t)m.protocols_count;
    join->id_required = r->version >= 4;           /* KIP-394 */
    join->skip_assignment_known = r->version >= 9; /* KIP-814 */
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, g, joined);
    return 0;
}
