/* Heartbeat. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/heartbeat.h"

static void beaten(struct service_groups *g)
{
    struct kafka_heartbeat_response response;

    kafka_heartbeat_response_init(&response);
    response.error_code = kafka_group_member_error(service_group_error(&g->calls[0]));
    kafka_answer(kafka_group_request(g), &response);
}

int kafka_heartbeat(struct kafka_request *r)
{
    struct kafka_heartbeat_request m;
    struct service_groups *g;
    struct coordinator_heartbeat *heartbeat;
    bool ok = true;
    int rv = kafka_heartbeat_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    g = kafka_group_calls(r, 1, COORDINATOR_HEARTBEAT);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    heartbeat = &g->calls[0].op.u.heartbeat;
    heartbeat->group = kafka_group_text(r, m.group_id, &ok);
    heartbeat->member = kafka_group_text(r, m.member_id, &ok);
    heartbeat->instance = kafka_group_optional(r, m.group_instance_id, &ok);
    heartbeat->generation = m.generation_id;
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, g, beaten);
    return 0;
}
