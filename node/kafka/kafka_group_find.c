/* FindCoordinator. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/find_coordinator.h"

#define KEY_TYPE_GROUP 0
#define KEY_TYPE_TRANSACTION 1
#define FIND_KEYS_MAX 1000

struct find_state {
    struct kafka_find_coordinator_request message;
    uint32_t n;
    uint32_t pending;
    struct service_find_coordinator *finds;
};

static void fill(struct kafka_request *r, const struct service_find_coordinator *f,
                 struct kafka_find_coordinator_response_coordinator *out)
{
    int error = f->error;

    out->host = kafka_string("");
    if (error == 0 && !kafka_endpoint(r, f->node, &out->host, &out->port)) {
        error = ERR_LEADER_NOT_READY;
    }
    out->node_id = (int32_t)f->node;
    if (error != 0) {
        out->node_id = -1;
        out->port = -1;
        out->error_code = kafka_group_member_error(error);
        out->error_message = kafka_string(err_text(error));
    }
}

static void answer(struct kafka_request *r)
{
    const struct find_state *state = r->state;
    struct kafka_find_coordinator_response response;
    struct kafka_find_coordinator_response_coordinator *coordinators = kafka_alloc(r, state->n, sizeof *coordinators);

    if (coordinators == NULL) {
        kafka_drop(r);
        return;
    }
    kafka_find_coordinator_response_init(&response);
    for (uint32_t i = 0; i < state->n; i++) {
        coordinators[i].key = r->version >= 4 ? state->message.coordinator_keys[i] : state->message.key;
        coordinators[i].error_message = kafka_string(NULL);
        fill(r, &state->finds[i], &coordinators[i]);
    }
    if (r->version >= 4) {
        response.coordinators = coordinators;
        response.coordinators_count = (int32_t)state->n;
    } else {
        response.error_code = coordinators[0].error_code;
        response.error_message = coordinators[0].error_message;
        response.node_id = coordinators[0].node_id;
        response.host = coordinators[0].host;
        response.port = coordinators[0].port;
    }
    kafka_answer(r, &response);
}

static void part_done(struct kafka_request *r)
{
    struct find_state *state = r->state;
    state->pending--;
    if (state->pending == 0) {
        answer(r);
    }
}

static void found(struct service_find_coordinator *f)
{
    part_done(f->data);
}

/* Told in kind. Of what clients take for final where transactions are concerned, they show this code's text; with
 * others librdkafka goes on asking until its time is up, and then says only that. */
static int refuse(struct kafka_request *r, const struct kafka_find_coordinator_request *m)
{
    bool transaction = m->key_type == KEY_TYPE_TRANSACTION;
    struct kafka_find_coordinator_response response;
    int16_t code = transaction ? KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED : KAFKA_ERROR_INVALID_REQUEST;
    struct kafka_string text = transaction ? kafka_string("transactions are not served by this cluster")
                                           : kafka_format(r, "key type %d is not known here", m->key_type);

    kafka_find_coordinator_response_init(&response);
    response.error_code = code;
    response.error_message = text;
    response.node_id = -1;
    response.host = kafka_string("");
    response.port = -1;
    if (r->version >= 4) {
        response.error_code = 0;
        response.error_message = kafka_string(NULL);
        response.node_id = 0;
        response.port = 0;
        response.coordinators_count = m->coordinator_keys_count;
        response.coordinators = kafka_alloc(r, (size_t)m->coordinator_keys_count, sizeof *response.coordinators);
        if (response.coordinators == NULL) {
            return ERR_NOMEM;
        }
        for (int32_t i = 0; i < m->coordinator_keys_count; i++) {
            response.coordinators[i] = (struct kafka_find_coordinator_response_coordinator){
                .key = m->coordinator_keys[i],
                .node_id = -1,
                .host = kafka_string(""),
                .port = -1,
                .error_code = code,
                .error_message = text,
            };
        }
    }
    kafka_answer(r, &response);
    return 0;
}

int kafka_find_coordinator(struct kafka_request *r)
{
    struct find_state *state = kafka_alloc(r, 1, sizeof *state);
    struct kafka_find_coordinator_request *m;
    bool ok = true;
    int rv;

    if (state == NULL) {
        return ERR_NOMEM;
    }
    m = &state->message;
    rv = kafka_find_coordinator_request_decode(&r->message, r->version, &r->arena, m);
    if (rv != 0) {
        return rv;
    }
    state->n = r->version >= 4 ? (uint32_t)m->coordinator_keys_count : 1;
    if (state->n > FIND_KEYS_MAX) {
        return ERR_TOO_BIG;
    }
    if (m->key_type != KEY_TYPE_GROUP) {
        return refuse(r, m);
    }
    state->finds = kafka_alloc(r, state->n, sizeof *state->finds);
    for (uint32_t i = 0; state->finds != NULL && i < state->n; i++) {
        state->finds[i].group = kafka_group_text(r, r->version >= 4 ? m->coordinator_keys[i] : m->key, &ok);
    }
    if (state->finds == NULL || !ok) {
        return ERR_NOMEM;
    }
    r->state = state;
    state->pending = state->n + 1; /* one for this loop: answers may come inside the calls */
    for (uint32_t i = 0; i < state->n; i++) {
        state->finds[i].ctx = &r->session->ctx;
        state->finds[i].data = r;
        state->finds[i].done = found;
        service_find_coordinator(r->service, &state->finds[i]);
    }
    part_done(r);
    return 0;
}
