/* OffsetCommit. */
#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/offset_commit.h"

struct commit_state {
    struct service_groups *calls;
    struct kafka_offset_commit_request message;
};

static void free_state(struct kafka_request *r)
{
    struct commit_state *state = r->state;
    service_groups_free(state->calls);
}

/* An error of the whole is told of each partition: the response has no other place. */
static void committed(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    const struct commit_state *state = r->state;
    const struct coordinator_commit *commit = &g->calls[0].op.u.commit;
    struct kafka_offset_commit_response response;
    uint32_t next = 0;

    kafka_offset_commit_response_init(&response);
    response.topics = kafka_alloc(r, (size_t)state->message.topics_count, sizeof *response.topics);
    for (int32_t i = 0; response.topics != NULL && i < state->message.topics_count; i++) {
        const struct kafka_offset_commit_request_topic *in = &state->message.topics[i];
        struct kafka_offset_commit_response_topic *out = &response.topics[response.topics_count++];
        out->name = in->name;
        out->partitions_count = in->partitions_count;
        out->partitions = kafka_alloc(r, (size_t)in->partitions_count, sizeof *out->partitions);
        if (out->partitions == NULL) {
            response.topics = NULL;
            break;
        }
        for (int32_t k = 0; k < in->partitions_count; k++, next++) {
            int error = commit->request.error != 0 ? commit->request.error : commit->parts[next].error;
            out->partitions[k].partition_index = in->partitions[k].partition_index;
            out->partitions[k].error_code = kafka_group_error(error);
        }
    }
    if (response.topics == NULL) {
        kafka_drop(r);
        return;
    }
    kafka_answer(r, &response);
}

static void fill_parts(struct coordinator_part *parts, const struct kafka_offset_commit_request_topic *topic,
                       const char *name)
{
    for (int32_t k = 0; k < topic->partitions_count; k++) {
        const struct kafka_offset_commit_request_partition *in = &topic->partitions[k];
        struct coordinator_part *part = &parts[k];
        part->topic_name = name;
        part->partition = in->partition_index;
        part->offset = in->committed_offset;
        part->leader_epoch = in->committed_leader_epoch;
        part->metadata = in->committed_metadata.length < 0 ? NULL : in->committed_metadata.data;
        part->metadata_size = in->committed_metadata.length < 0 ? 0 : (uint32_t)in->committed_metadata.length;
    }
}

int kafka_offset_commit(struct kafka_request *r)
{
    struct commit_state *state = kafka_alloc(r, 1, sizeof *state);
    struct kafka_offset_commit_request *m;
    struct coordinator_commit *commit;
    struct coordinator_part *parts;
    bool ok = true;
    size_t n = 0;
    int rv;

    if (state == NULL) {
        return ERR_NOMEM;
    }
    m = &state->message;
    rv = kafka_offset_commit_request_decode(&r->message, r->version, &r->arena, m);
    if (rv != 0) {
        return rv;
    }
    for (int32_t i = 0; i < m->topics_count; i++) {
        n += (size_t)m->topics[i].partitions_count;
    }
    parts = kafka_alloc(r, n, sizeof *parts);
    state->calls = kafka_group_calls(r, 1, COORDINATOR_COMMIT);
    if (parts == NULL || state->calls == NULL) {
        return ERR_NOMEM;
    }
    r->state = state;
    r->cleanup = free_state;
    commit = &state->calls->calls[0].op.u.commit;
    commit->group = kafka_group_text(r, m->group_id, &ok);
    commit->member = kafka_group_text(r, m->member_id, &ok);
    commit->instance = kafka_group_optional(r, m->group_instance_id, &ok);
    commit->generation = m->generation_id_or_member_epoch;
    commit->retention_ms = m->retention_time_ms;
    commit->parts = parts;
    commit->n_parts = (uint32_t)n;
    for (int32_t i = 0; i < m->topics_count; i++) {
        fill_parts(parts, &m->topics[i], kafka_group_text(r, m->topics[i].name, &ok));
        parts += m->topics[i].partitions_count;
    }
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, state->calls, committed);
    return 0;
}
