/* OffsetDelete. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/offset_delete.h"

struct delete_state {
    struct service_groups *calls;
    struct kafka_offset_delete_request message;
};

static void free_state(struct kafka_request *r)
{
    struct delete_state *state = r->state;
    service_groups_free(state->calls);
}

static void forgotten(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    const struct delete_state *state = r->state;
    const struct coordinator_forget *forget = &g->calls[0].op.u.forget;
    struct kafka_offset_delete_response response;
    uint32_t next = 0;

    kafka_offset_delete_response_init(&response);
    response.error_code = kafka_group_error(forget->request.error);
    if (forget->request.error != 0) {
        kafka_answer(r, &response);
        return;
    }
    response.topics = kafka_alloc(r, (size_t)state->message.topics_count, sizeof *response.topics);
    for (int32_t i = 0; response.topics != NULL && i < state->message.topics_count; i++) {
        const struct kafka_offset_delete_request_topic *in = &state->message.topics[i];
        struct kafka_offset_delete_response_topic *out = &response.topics[response.topics_count++];
        out->name = in->name;
        out->partitions_count = in->partitions_count;
        out->partitions = kafka_alloc(r, (size_t)in->partitions_count, sizeof *out->partitions);
        if (out->partitions == NULL) {
            response.topics = NULL;
            break;
        }
        for (int32_t k = 0; k < in->partitions_count; k++, next++) {
            out->partitions[k].partition_index = in->partitions[k].partition_index;
            out->partitions[k].error_code = kafka_group_error(forget->parts[next].error);
        }
    }
    if (response.topics == NULL) {
        kafka_drop(r);
        return;
    }
    kafka_answer(r, &response);
}

int kafka_offset_delete(struct kafka_request *r)
{
    struct delete_state *state = kafka_alloc(r, 1, sizeof *state);
    struct kafka_offset_delete_request *m;
    struct coordinator_part *parts;
    bool ok = true;
    size_t n = 0;
    int rv;

    if (state == NULL) {
        return ERR_NOMEM;
    }
    m = &state->message;
    rv = kafka_offset_delete_request_decode(&r->message, r->version, &r->arena, m);
    if (rv != 0) {
        return rv;
    }
    for (int32_t i = 0; i < m->topics_count; i++) {
        n += (size_t)m->topics[i].partitions_count;
    }
    parts = kafka_alloc(r, n, sizeof *parts);
    state->calls = kafka_group_calls(r, 1, COORDINATOR_FORGET);
    if (parts == NULL || state->calls == NULL) {
        return ERR_NOMEM;
    }
    r->state = state;
    r->cleanup = free_state;
    state->calls->calls[0].op.u.forget.group = kafka_group_text(r, m->group_id, &ok);
    state->calls->calls[0].op.u.forget.parts = parts;
    state->calls->calls[0].op.u.forget.n_parts = (uint32_t)n;
    for (int32_t i = 0; i < m->topics_count; i++) {
        const char *name = kafka_group_text(r, m->topics[i].name, &ok);
        for (int32_t k = 0; k < m->topics[i].partitions_count; k++, parts++) {
            parts->topic_name = name;
            parts->partition = m->topics[i].partitions[k].partition_index;
        }
    }
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, state->calls, forgotten);
    return 0;
}
