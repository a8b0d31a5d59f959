/* OffsetFetch: one group up to version 7, several from 8 on. The answer is built in the shape of version 8; the older
 * one is its only group. */
#include <stdlib.h>
#include <string.h>

#include "node/kafka/kafka_group.h"
#include "proto/kafka/messages/offset_fetch.h"

/* What a group was asked for, in either shape. */
struct asked_topic {
    struct kafka_string name;
    const int32_t *partitions;
    int32_t count;
};
struct asked_group {
    struct kafka_string id;
    struct asked_topic *topics;
    int32_t count; /* -1: all that there is */
};
struct fetch_state {
    struct service_groups *calls;
    struct asked_group *groups;
};

static void free_state(struct kafka_request *r)
{
    struct fetch_state *state = r->state;
    service_groups_free(state->calls);
}

/* ---- the answer ------------------------------------------------------------------------------------------------- */

static void fill_partition(const struct coordinator_part *part, struct kafka_offset_fetch_response_group_partition *out)
{
    out->partition_index = part->partition;
    out->committed_offset = part->error == 0 ? part->offset : -1;
    out->committed_leader_epoch = part->error == 0 ? part->leader_epoch : -1;
    out->metadata = kafka_group_string(part->metadata_out);
    out->error_code = kafka_group_error(part->error);
}

static int compare_parts(const void *left, const void *right)
{
    const struct coordinator_part *a = left;
    const struct coordinator_part *b = right;
    int order = strcmp(a->topic_name, b->topic_name);
    return order != 0 ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

/* Everything that the group has, gathered by topic. */
static bool fill_all(struct kafka_request *r, const struct coordinator_fetch *fetch,
                     struct kafka_offset_fetch_response_group *out)
{
    struct kafka_offset_fetch_response_group_partition *partitions = kafka_alloc(r, fetch->n_parts, sizeof *partitions);
    struct coordinator_part *parts = kafka_alloc(r, fetch->n_parts, sizeof *parts);

    out->topics = kafka_alloc(r, fetch->n_parts, sizeof *out->topics);
    if (out->topics == NULL || partitions == NULL || parts == NULL) {
        return false;
    }
    if (fetch->n_parts > 0) {
        memcpy(parts, fetch->parts, fetch->n_parts * sizeof *parts);
        qsort(parts, fetch->n_parts, sizeof *parts, compare_parts);
    }
    for (uint32_t i = 0; i < fetch->n_parts; i++) {
        if (i == 0 || strcmp(parts[i].topic_name, parts[i - 1].topic_name) != 0) {
            out->topics[out->topics_count].name = kafka_string(parts[i].topic_name);
            out->topics[out->topics_count].partitions = &partitions[i];
            out->topics_count++;
        }
        out->topics[out->topics_count - 1].partitions_count++;
        fill_partition(&parts[i], &partitions[i]);
    }
    return true;
}

/* What was asked for, in that order. With @error it is told of each partition: version 1 has no other place for it. */
static bool fill_asked(struct kafka_request *r, const struct asked_group *asked, const struct coordinator_part *parts,
                       int error, struct kafka_offset_fetch_response_group *out)
{
    out->topics = kafka_alloc(r, (size_t)asked->count, sizeof *out->topics);
    if (out->topics == NULL) {
        return false;
    }
    out->topics_count = asked->count;
    for (int32_t i = 0; i < asked->count; i++) {
        struct kafka_offset_fetch_response_group_topic *topic = &out->topics[i];
        topic->name = asked->topics[i].name;
        topic->partitions_count = asked->topics[i].count;
        topic->partitions = kafka_alloc(r, (size_t)topic->partitions_count, sizeof *topic->partitions);
        if (topic->partitions == NULL) {
            return false;
        }
        for (int32_t k = 0; k < topic->partitions_count; k++) {
            struct coordinator_part part = {.partition = asked->topics[i].partitions[k], .error = error};
            fill_partition(error != 0 ? &part : parts++, &topic->partitions[k]);
        }
    }
    return true;
}

static bool fill_group(struct kafka_request *r, const struct asked_group *asked, const struct coordinator_fetch *fetch,
                       struct kafka_offset_fetch_response_group *out)
{
    out->group_id = asked->id;
    out->error_code = kafka_group_error(fetch->request.error);
    if (fetch->request.error != 0) {
        return r->version >= 2 || fill_asked(r, asked, NULL, fetch->request.error, out);
    }
    return asked->count < 0 ? fill_all(r, fetch, out) : fill_asked(r, asked, fetch->parts, 0, out);
}

/* The only group, in the shape of versions before 8. */
static bool fill_old(struct kafka_request *r, const struct kafka_offset_fetch_response_group *group,
                     struct kafka_offset_fetch_response *response)
{
    response->error_code = group->error_code;
    response->topics_count = group->topics_count;
    response->topics = kafka_alloc(r, (size_t)group->topics_count, sizeof *response->topics);
    if (response->topics == NULL) {
        return false;
    }
    for (int32_t i = 0; i < group->topics_count; i++) {
        const struct kafka_offset_fetch_response_group_topic *from = &group->topics[i];
        struct kafka_offset_fetch_response_topic *to = &response->topics[i];
        to->name = from->name;
        to->partitions_count = from->partitions_count;
        to->partitions = kafka_alloc(r, (size_t)from->partitions_count, sizeof *to->partitions);
        if (to->partitions == NULL) {
            return false;
        }
        for (int32_t k = 0; k < from->partitions_count; k++) {
            to->partitions[k].partition_index = from->partitions[k].partition_index;
            to->partitions[k].committed_offset = from->partitions[k].committed_offset;
            to->partitions[k].committed_leader_epoch = from->partitions[k].committed_leader_epoch;
            to->partitions[k].metadata = from->partitions[k].metadata;
            to->partitions[k].error_code = from->partitions[k].error_code;
        }
    }
    return true;
}

static void fetched(struct service_groups *g)
{
    struct kafka_request *r = kafka_group_request(g);
    const struct fetch_state *state = r->state;
    struct kafka_offset_fetch_response response;
    struct kafka_offset_fetch_response_group *groups = kafka_alloc(r, g->n, sizeof *groups);
    bool ok = groups != NULL;

    kafka_offset_fetch_response_init(&response);
    for (uint32_t i = 0; ok && i < g->n; i++) {
        ok = fill_group(r, &state->groups[i], &g->calls[i].op.u.fetch, &groups[i]);
    }
    if (ok && r->version >= 8) {
        response.groups = groups;
        response.groups_count = (int32_t)g->n;
    } else if (ok) {
        ok = fill_old(r, &groups[0], &response);
    }
    if (!ok) {
        kafka_drop(r);
        return;
    }
    kafka_answer(r, &response);
}

/* ---- the request ------------------------------------------------------------------------------------------------ */

/* Both shapes of topics have the same fields. */
#define COPY_TOPICS(r, asked, from, from_count)                                                                        \
    do {                                                                                                               \
        (asked)->count = (from_count);                                                                                 \
        (asked)->topics = kafka_alloc((r), (from_count) < 0 ? 0 : (size_t)(from_count), sizeof *(asked)->topics);      \
        for (int32_t i_ = 0; (asked)->topics != NULL && i_ < (from_count); i_++) {                                     \
            (asked)->topics[i_].name = (from)[i_].name;                                                                \
            (asked)->topics[i_].partitions = (from)[i_].partition_indexes;                                             \
            (asked)->topics[i_].count = (from)[i_].partition_indexes_count;                                            \
        }                                                                                                              \
    } while (0)

static bool set_call(struct kafka_request *r, const struct asked_group *asked, struct coordinator_fetch *fetch)
{
    struct coordinator_part *part;
    bool ok = true;
    size_t n = 0;

    fetch->group = kafka_group_text(r, asked->id, &ok);
    fetch->all = asked->count < 0;
    for (int32_t i = 0; i < asked->count; i++) {
        n += (size_t)asked->topics[i].count;
    }
    if (fetch->all) {
        return ok;
    }
    part = kafka_alloc(r, n, sizeof *part);
    fetch->parts = part;
    fetch->n_parts = (uint32_t)n;
    for (int32_t i = 0; part != NULL && i < asked->count; i++) {
        const char *name = kafka_group_text(r, asked->topics[i].name, &ok);
        for (int32_t k = 0; k < asked->topics[i].count; k++, part++) {
            part->topic_name = name;
            part->partition = asked->topics[i].partitions[k];
        }
    }
    return ok && part != NULL;
}

int kafka_offset_fetch(struct kafka_request *r)
{
    struct fetch_state *state = kafka_alloc(r, 1, sizeof *state);
    struct kafka_offset_fetch_request m;
    bool ok = true;
    int32_t n;
    int rv = kafka_offset_fetch_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    n = r->version >= 8 ? m.groups_count : 1;
    if (n > (int32_t)SERVICE_GROUPS_MAX) {
        return ERR_TOO_BIG;
    }
    if (state == NULL) {
        return ERR_NOMEM;
    }
    state->groups = kafka_alloc(r, (size_t)n, sizeof *state->groups);
    state->calls = kafka_group_calls(r, (uint32_t)n, COORDINATOR_FETCH);
    if (state->groups == NULL || state->calls == NULL) {
        return ERR_NOMEM;
    }
    r->state = state;
    r->cleanup = free_state;
    for (int32_t i = 0; i < n; i++) {
        struct asked_group *asked = &state->groups[i];
        asked->id = r->version >= 8 ? m.groups[i].group_id : m.group_id;
        if (r->version >= 8) {
            COPY_TOPICS(r, asked, m.groups[i].topics, m.groups[i].topics_count);
        } else {
            COPY_TOPICS(r, asked, m.topics, m.topics_count);
        }
        ok = ok && asked->topics != NULL && set_call(r, asked, &state->calls->calls[i].op.u.fetch);
    }
    if (!ok) {
        return ERR_NOMEM;
    }
    kafka_group_ask(r, state->calls, fetched);
    return 0;
}
