/* DeleteGroups. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/delete_groups.h"

static void deleted(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    struct kafka_delete_groups_response response;

    kafka_delete_groups_response_init(&response);
    response.results = kafka_alloc(r, g->n, sizeof *response.results);
    if (response.results == NULL) {
        kafka_drop(r);
        return;
    }
    response.results_count = (int32_t)g->n;
    for (uint32_t i = 0; i < g->n; i++) {
        response.results[i].group_id = kafka_string(g->calls[i].op.u.del.group);
        response.results[i].error_code = kafka_group_error(service_group_error(&g->calls[i]));
    }
    kafka_answer(r, &response);
}

int kafka_delete_groups(struct kafka_request *r)
{
    struct kafka_delete_groups_request m;
    struct service_groups *g;
    bool ok = true;
    int rv = kafka_delete_groups_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    if (m.groups_names_count > (int32_t)SERVICE_GROUPS_MAX) {
        return ERR_TOO_BIG;
    }
    g = kafka_group_calls(r, (uint32_t)m.groups_names_count, COORDINATOR_DELETE);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    for (int32_t i = 0; i < m.groups_names_count; i++) {
        g->calls[i].op.u.del.group = kafka_group_text(r, m.groups_names[i], &ok);
    }
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, g, deleted);
    return 0;
}
