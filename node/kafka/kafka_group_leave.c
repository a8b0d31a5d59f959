/* LeaveGroup: one member up to version 2, several from 3 on. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/leave_group.h"

static void left(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    const struct coordinator_leave *leave = &g->calls[0].op.u.leave;
    struct kafka_leave_group_response response;

    kafka_leave_group_response_init(&response);
    response.error_code = kafka_group_error(leave->request.error);
    if (leave->request.error == 0 && r->version < 3) {
        response.error_code = kafka_group_error(leave->members[0].error);
    } else if (leave->request.error == 0) {
        response.members = kafka_alloc(r, leave->n_members, sizeof *response.members);
        if (response.members == NULL) {
            kafka_drop(r);
            return;
        }
        response.members_count = (int32_t)leave->n_members;
        for (uint32_t i = 0; i < leave->n_members; i++) {
            response.members[i].member_id = kafka_string(leave->members[i].member);
            response.members[i].group_instance_id = kafka_string(leave->members[i].instance);
            response.members[i].error_code = kafka_group_error(leave->members[i].error);
        }
    }
    kafka_answer(r, &response);
}

int kafka_leave_group(struct kafka_request *r)
{
    struct kafka_leave_group_request m;
    struct coordinator_leaver *leavers;
    struct service_groups *g;
    bool ok = true;
    size_t n;
    int rv = kafka_leave_group_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    n = r->version < 3 ? 1 : (size_t)m.members_count;
    g = kafka_group_calls(r, 1, COORDINATOR_LEAVE);
    leavers = kafka_alloc(r, n, sizeof *leavers);
    if (g == NULL || leavers == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        leavers[i].member = kafka_group_text(r, r->version < 3 ? m.member_id : m.members[i].member_id, &ok);
        leavers[i].instance = r->version < 3 ? NULL : kafka_group_optional(r, m.members[i].group_instance_id, &ok);
    }
    g->calls[0].op.u.leave.group = kafka_group_text(r, m.group_id, &ok);
    g->calls[0].op.u.leave.members = leavers;
    g->calls[0].op.u.leave.n_members = (uint32_t)n;
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, g, left);
    return 0;
}
