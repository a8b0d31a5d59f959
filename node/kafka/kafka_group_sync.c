/* SyncGroup. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/sync_group.h"

static void synced(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    const struct coordinator_sync *sync = &g->calls[0].op.u.sync;
    struct kafka_sync_group_response response;

    kafka_sync_group_response_init(&response);
    response.error_code = kafka_group_member_error(sync->request.error);
    response.assignment = kafka_group_bytes(sync->request.error == 0 ? sync->assignment : NULL);
    if (sync->request.error == 0) {
        response.protocol_type = kafka_group_string(sync->protocol_type_out);
        response.protocol_name = kafka_group_string(sync->protocol_out);
    }
    kafka_answer(r, &response);
}

int kafka_sync_group(struct kafka_request *r)
{
    struct kafka_sync_group_request m;
    struct coordinator_assignment *assignments;
    struct service_groups *g;
    struct coordinator_sync *sync;
    bool ok = true;
    int rv = kafka_sync_group_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    g = kafka_group_calls(r, 1, COORDINATOR_SYNC);
    assignments = kafka_alloc(r, (size_t)m.assignments_count, sizeof *assignments);
    if (g == NULL || assignments == NULL) {
        return ERR_NOMEM;
    }
    for (int32_t i = 0; i < m.assignments_count; i++) {
        assignments[i].member = kafka_group_text(r, m.assignments[i].member_id, &ok);
        assignments[i].data = m.assignments[i].assignment.data;
        assignments[i].size = (uint32_t)m.assignments[i].assignment.length;
    }
    sync = &g->calls[0].op.u.sync;
    sync->group = kafka_group_text(r, m.group_id, &ok);
    sync->member = kafka_group_text(r, m.member_id, &ok);
    sync->instance = kafka_group_optional(r, m.group_instance_id, &ok);
    sync->protocol_type = kafka_group_optional(r, m.protocol_type, &ok);
    sync->protocol = kafka_group_optional(r, m.protocol_name, &ok);
    sync->generation = m.generation_id;
    sync->assignments = assignments;
    sync->n_assignments = (uint32_t)m.assignments_count;
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, g, synced);
    return 0;
}
