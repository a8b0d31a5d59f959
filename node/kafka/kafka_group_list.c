/* ListGroups: the groups that this node coordinates. Clients ask every node. */
#include <string.h>
#include <strings.h>

#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/list_groups.h"

static const char type_classic[] = "Classic";

struct list_state {
    struct service_list_groups list;
    struct kafka_request *request;
};

static void free_state(struct kafka_request *r)
{
    struct list_state *state = r->state;
    service_list_groups_close(&state->list);
}

static bool is_name(struct kafka_string s, const char *name)
{
    return s.length == (int32_t)strlen(name) && strncasecmp(s.data, name, (size_t)s.length) == 0;
}

/* Bits of the states that are named. A name that is no state matches nothing: the bit of DEAD, which no group here has.
 */
static uint32_t states_of(const struct kafka_list_groups_request *m)
{
    uint32_t states = 0;
    for (int32_t i = 0; i < m->states_filter_count; i++) {
        enum coordinator_state state = COORDINATOR_EMPTY;
        while (state != COORDINATOR_DEAD && !is_name(m->states_filter[i], coordinator_state_name(state))) {
            state++;
        }
        states |= 1u << state;
    }
    return states;
}

static bool wants_classic(const struct kafka_list_groups_request *m)
{
    bool wanted = m->types_filter_count <= 0;
    for (int32_t i = 0; i < m->types_filter_count; i++) {
        wanted = wanted || is_name(m->types_filter[i], type_classic);
    }
    return wanted;
}

static bool fill(struct kafka_request *r, const struct service_groups *g, struct kafka_list_groups_response *response)
{
    size_t n = 0;
    for (uint32_t i = 0; g != NULL && i < g->n; i++) {
        n += g->calls[i].op.u.list.n_groups;
    }
    response->groups = kafka_alloc(r, n, sizeof *response->groups);
    if (response->groups == NULL) {
        return false;
    }
    for (uint32_t i = 0; g != NULL && i < g->n; i++) {
        const struct coordinator_list *list = &g->calls[i].op.u.list;
        for (uint32_t k = 0; service_group_error(&g->calls[i]) == 0 && k < list->n_groups; k++) {
            struct kafka_list_groups_response_group *out = &response->groups[response->groups_count++];
            out->group_id = kafka_group_string(list->groups[k].id);
            out->protocol_type = kafka_group_string(list->groups[k].protocol_type);
            out->group_state = kafka_string(coordinator_state_name(list->groups[k].state));
            out->group_type = kafka_string(type_classic);
        }
    }
    return true;
}

static void listed(struct service_list_groups *l)
{
    struct list_state *state = container_of(l, struct list_state, list);
    struct kafka_request *r = state->request;
    struct kafka_list_groups_response response;

    kafka_list_groups_response_init(&response);
    response.error_code = kafka_group_error(l->error);
    if (!fill(r, l->groups, &response)) {
        kafka_drop(r);
        return;
    }
    kafka_answer(r, &response);
}

int kafka_list_groups(struct kafka_request *r)
{
    struct list_state *state = kafka_alloc(r, 1, sizeof *state);
    struct kafka_list_groups_request m;
    int rv = kafka_list_groups_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    if (state == NULL) {
        return ERR_NOMEM;
    }
    if (!wants_classic(&m)) {
        struct kafka_list_groups_response response;
        kafka_list_groups_response_init(&response);
        kafka_answer(r, &response);
        return 0;
    }
    state->request = r;
    state->list.ctx = &r->session->ctx;
    state->list.states = states_of(&m);
    state->list.done = listed;
    r->state = state;
    r->cleanup = free_state;
    service_list_groups(r->service, &state->list);
    return 0;
}
