/* ListOffsets: the end, the start, the newest timestamp, or the first record at or after a time. */
#include <stdlib.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/list_offsets.h"

#define EPOCH_VERSION_MIN 4

/* Timestamps that mean something else. */
enum { END = -1, START = -2, NEWEST_TIME = -3, LOCAL_START = -4, TIERED_END = -5 };

struct place {
    struct kafka_list_offsets_response_partition *out;
    int32_t leader_epoch;
    int64_t timestamp;
};

struct state {
    struct kafka_list_offsets_request m;
    struct kafka_list_offsets_response response;
    struct service_list_offsets *list;
    struct place *places;
    uint32_t n_parts;
};

static void cleanup(struct kafka_request *r)
{
    struct state *s = r->state;
    free(s->list);
}

static void fill_part(int16_t version, const struct service_list_offsets_part *part, const struct place *place)
{
    struct kafka_list_offsets_response_partition *out = place->out;

    out->error_code = kafka_error_from_err(part->op.error, KAFKA_PARTITION);
    if (out->error_code == 0) {
        out->error_code = kafka_check_epoch(place->leader_epoch, part->op.where.leader_epoch);
    }
    if (out->error_code != 0) {
        return;
    }
    out->offset = part->op.offset;
    if (place->timestamp >= 0 || place->timestamp == NEWEST_TIME) {
        out->timestamp = part->op.timestamp_ms;
    }
    if (version >= EPOCH_VERSION_MIN && out->offset >= 0) {
        out->leader_epoch = (int32_t)part->op.where.leader_epoch;
    }
}

static void listed(struct service_list_offsets *l)
{
    struct kafka_request *r = l->data;
    struct state *s = r->state;

    for (uint32_t i = 0; i < l->n; i++) {
        fill_part(r->version, &l->parts[i], &s->places[i]);
    }
    kafka_answer(r, &s->response);
}

static void begin_part(struct state *s, const struct metadata_topic *t,
                       const struct kafka_list_offsets_request_partition *in,
                       struct kafka_list_offsets_response_partition *out)
{
    struct service_list_offsets_part *part;

    kafka_list_offsets_response_partition_init(out);
    out->partition_index = in->partition_index;
    if (metadata_topic_partition(t, in->partition_index) == NULL) {
        out->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (in->timestamp < TIERED_END) {
        out->error_code = KAFKA_ERROR_UNSUPPORTED_VERSION;
        return;
    }
    if (in->timestamp == TIERED_END) {
        return; /* nothing is tiered: offset -1 */
    }
    s->places[s->n_parts] = (struct place){out, in->current_leader_epoch, in->timestamp};
    part = &s->list->parts[s->n_parts++];
    part->topic_id = t->id;
    part->partition = (uint32_t)in->partition_index;
    part->op.time_ms = in->timestamp == LOCAL_START ? START : in->timestamp;
}

static bool begin_parts(struct kafka_request *r, struct state *s)
{
    s->response.topics = kafka_alloc(r, (size_t)s->m.topics_count, sizeof *s->response.topics);
    if (s->response.topics == NULL) {
        return false;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        const struct kafka_list_offsets_request_topic *in = &s->m.topics[i];
        struct kafka_list_offsets_response_topic *out = &s->response.topics[s->response.topics_count++];
        const struct metadata_topic *t = kafka_find_topic(r, in->name);
        out->name = in->name;
        out->partitions = kafka_alloc(r, (size_t)in->partitions_count, sizeof *out->partitions);
        if (out->partitions == NULL) {
            return false;
        }
        for (int32_t k = 0; k < in->partitions_count; k++) {
            begin_part(s, t, &in->partitions[k], &out->partitions[out->partitions_count++]);
        }
    }
    return true;
}

int kafka_list_offsets(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    uint64_t n = 0;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_list_offsets_response_init(&s->response);
    rv = kafka_list_offsets_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        n += (uint64_t)s->m.topics[i].partitions_count;
    }
    if (n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    s->list = service_list_offsets_new((uint32_t)n);
    s->places = kafka_alloc(r, (size_t)n, sizeof *s->places);
    r->cleanup = cleanup;
    if (s->list == NULL || s->places == NULL || !begin_parts(r, s)) {
        return ERR_NOMEM;
    }
    s->list->n = s->n_parts; /* the others have their answer already */
    s->list->ctx = &r->session->ctx;
    s->list->data = r;
    s->list->done = listed;
    service_list_offsets(r->service, s->list);
    return 0;
}
