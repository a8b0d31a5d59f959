/* OffsetForLeaderEpoch: whether what a reader has read of an older leader still stands (KIP-320). The leader epoch is
 * the Raft term. */
#include <stdlib.h>

#include "node/kafka/kafka_internal.h"
#include "node/service/service_partition.h"
#include "proto/kafka/messages/offset_for_leader_epoch.h"

struct place {
    struct kafka_offset_for_leader_epoch_response_partition *out;
    int32_t leader_epoch;
};

struct state {
    struct kafka_offset_for_leader_epoch_request m;
    struct kafka_offset_for_leader_epoch_response response;
    struct service_epoch_ends *ends;
    struct place *places;
    uint32_t n_parts;
};

static void cleanup(struct kafka_request *r)
{
    struct state *s = r->state;
    free(s->ends);
}

static void answered(struct service_epoch_ends *e)
{
    struct kafka_request *r = e->data;
    struct state *s = r->state;

    for (uint32_t i = 0; i < e->n; i++) {
        const struct partition_epoch_end *op = &e->parts[i].op;
        struct kafka_offset_for_leader_epoch_response_partition *out = s->places[i].out;
        out->error_code = kafka_error_from_err(op->error, KAFKA_PARTITION);
        if (out->error_code == 0) {
            out->error_code = kafka_check_epoch(s->places[i].leader_epoch, op->where.leader_epoch);
        }
        if (out->error_code == 0) {
            out->leader_epoch = (int32_t)op->epoch;
            out->end_offset = op->end_offset;
        }
    }
    kafka_answer(r, &s->response);
}

static void begin_part(struct state *s, const struct metadata_topic *t,
                       const struct kafka_offset_for_leader_epoch_request_partition *in,
                       struct kafka_offset_for_leader_epoch_response_partition *out)
{
    struct service_epoch_ends_part *part;

    kafka_offset_for_leader_epoch_response_partition_init(out);
    out->partition = in->partition;
    if (metadata_topic_partition(t, in->partition) == NULL) {
        out->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (in->leader_epoch < 0) {
        return; /* of no epoch nothing is known */
    }
    s->places[s->n_parts] = (struct place){out, in->current_leader_epoch};
    part = &s->ends->parts[s->n_parts++];
    part->topic_id = t->id;
    part->partition = (uint32_t)in->partition;
    part->op.asked = (uint64_t)in->leader_epoch;
}

static bool begin_parts(struct kafka_request *r, struct state *s)
{
    s->response.topics = kafka_alloc(r, (size_t)s->m.topics_count, sizeof *s->response.topics);
    if (s->response.topics == NULL) {
        return false;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        const struct kafka_offset_for_leader_epoch_request_topic *in = &s->m.topics[i];
        struct kafka_offset_for_leader_epoch_response_topic *out = &s->response.topics[s->response.topics_count++];
        const struct metadata_topic *t = kafka_find_topic(r, in->topic);
        out->topic = in->topic;
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

int kafka_offset_for_leader_epoch(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    uint64_t n = 0;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_offset_for_leader_epoch_response_init(&s->response);
    rv = kafka_offset_for_leader_epoch_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        n += (uint64_t)s->m.topics[i].partitions_count;
    }
    if (n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    s->ends = service_epoch_ends_new((uint32_t)n);
    s->places = kafka_alloc(r, (size_t)n, sizeof *s->places);
    r->cleanup = cleanup;
    if (s->ends == NULL || s->places == NULL || !begin_parts(r, s)) {
        return ERR_NOMEM;
    }
    s->ends->n = s->n_parts; /* the others have their answer already */
    s->ends->ctx = &r->session->ctx;
    s->ends->data = r;
    s->ends->done = answered;
    service_epoch_ends(r->service, s->ends);
    return 0;
}
