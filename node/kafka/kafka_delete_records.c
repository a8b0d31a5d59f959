/* DeleteRecords: what is before an offset is not served any more. A replicated command of the partition; the bytes go
 * with retention. */
#include <stdlib.h>

#include "node/kafka/kafka_internal.h"
#include "node/service/service_partition.h"
#include "proto/kafka/messages/delete_records.h"

struct state {
    struct kafka_delete_records_request m;
    struct kafka_delete_records_response response;
    struct service_trims *trims;
    struct kafka_delete_records_response_partition **places; /* where the result of each part goes */
    uint32_t n_parts;
};

static void cleanup(struct kafka_request *r)
{
    struct state *s = r->state;
    free(s->trims);
}

static void answered(struct service_trims *t)
{
    struct kafka_request *r = t->data;
    struct state *s = r->state;

    for (uint32_t i = 0; i < t->n; i++) {
        const struct partition_trim *op = &t->parts[i].op;
        struct kafka_delete_records_response_partition *out = s->places[i];
        out->error_code = kafka_error_from_err(op->error, KAFKA_PARTITION);
        if (out->error_code == 0) {
            out->low_watermark = op->where.log_start;
        }
    }
    kafka_answer(r, &s->response);
}

static void begin_part(struct state *s, const struct metadata_topic *t,
                       const struct kafka_delete_records_request_partition *in,
                       struct kafka_delete_records_response_partition *out)
{
    struct service_trims_part *part;

    kafka_delete_records_response_partition_init(out);
    out->partition_index = in->partition_index;
    out->low_watermark = -1;
    if (metadata_topic_partition(t, in->partition_index) == NULL) {
        out->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (in->offset < -1) {
        out->error_code = KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
        return;
    }
    s->places[s->n_parts] = out;
    part = &s->trims->parts[s->n_parts++];
    part->topic_id = t->id;
    part->partition = (uint32_t)in->partition_index;
    part->op.offset = in->offset;
}

static bool begin_parts(struct kafka_request *r, struct state *s)
{
    s->response.topics = kafka_alloc(r, (size_t)s->m.topics_count, sizeof *s->response.topics);
    if (s->response.topics == NULL) {
        return false;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        const struct kafka_delete_records_request_topic *in = &s->m.topics[i];
        struct kafka_delete_records_response_topic *out = &s->response.topics[s->response.topics_count++];
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

int kafka_delete_records(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    uint64_t n = 0;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_delete_records_response_init(&s->response);
    rv = kafka_delete_records_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        n += (uint64_t)s->m.topics[i].partitions_count;
    }
    if (n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    s->trims = service_trims_new((uint32_t)n);
    s->places = kafka_alloc(r, (size_t)n, sizeof *s->places);
    r->cleanup = cleanup;
    if (s->trims == NULL || s->places == NULL || !begin_parts(r, s)) {
        return ERR_NOMEM;
    }
    s->trims->n = s->n_parts; /* the others have their answer already */
    s->trims->ctx = &r->session->ctx;
    s->trims->data = r;
    s->trims->done = answered;
    service_trims(r->service, s->trims);
    return 0;
}
