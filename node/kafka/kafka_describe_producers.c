#include "node/kafka/kafka_internal.h"
#include "node/service/service_partition.h"
#include "proto/kafka/messages/describe_producers.h"

struct state {
    struct kafka_describe_producers_request m;
    struct kafka_describe_producers_response response;
    struct service_describes *describes;
    struct kafka_describe_producers_response_partition **places;
    uint32_t n_parts;
};

static void cleanup(struct kafka_request *r)
{
    struct state *s = r->state;
    service_describes_free(s->describes);
}

static bool fill_part(struct kafka_request *r, const struct partition_describe *op,
                      struct kafka_describe_producers_response_partition *out)
{
    out->error_code = kafka_error_from_err(op->error, KAFKA_PARTITION);
    out->active_producers = kafka_alloc(r, op->n_producers, sizeof *out->active_producers);
    for (uint32_t i = 0; out->active_producers != NULL && i < op->n_producers; i++) {
        struct kafka_describe_producers_response_producer *p = &out->active_producers[i];
        kafka_describe_producers_response_producer_init(p);
        p->producer_id = op->producers[i].id;
        p->producer_epoch = op->producers[i].epoch;
        p->last_sequence = op->producers[i].last_sequence;
        p->last_timestamp = op->producers[i].time_ms;
        p->coordinator_epoch = -1;
        out->active_producers_count++;
    }
    return out->active_producers != NULL;
}

static void described(struct service_describes *d)
{
    struct kafka_request *r = d->data;
    struct state *s = r->state;
    for (uint32_t i = 0; i < s->n_parts; i++) {
        if (!fill_part(r, &d->parts[i].op, s->places[i])) {
            kafka_drop(r);
            return;
        }
    }
    kafka_answer(r, &s->response);
}

static void begin_part(struct state *s, const struct metadata_topic *t, int32_t partition,
                       struct kafka_describe_producers_response_partition *out)
{
    struct service_describes_part *part;

    kafka_describe_producers_response_partition_init(out);
    out->partition_index = partition;
    if (metadata_topic_partition(t, partition) == NULL) {
        out->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    s->places[s->n_parts] = out;
    part = &s->describes->parts[s->n_parts++];
    part->topic_id = t->id;
    part->partition = (uint32_t)partition;
    part->op.with_producers = true;
}

static bool begin_parts(struct kafka_request *r, struct state *s)
{
    s->response.topics = kafka_alloc(r, (size_t)s->m.topics_count, sizeof *s->response.topics);
    if (s->response.topics == NULL) {
        return false;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        const struct kafka_describe_producers_request_topic *in = &s->m.topics[i];
        struct kafka_describe_producers_response_topic *out = &s->response.topics[s->response.topics_count++];
        const struct metadata_topic *t = kafka_find_topic(r, in->name);
        out->name = in->name;
        out->partitions = kafka_alloc(r, (size_t)in->partition_indexes_count, sizeof *out->partitions);
        if (out->partitions == NULL) {
            return false;
        }
        for (int32_t k = 0; k < in->partition_indexes_count; k++) {
            begin_part(s, t, in->partition_indexes[k], &out->partitions[out->partitions_count++]);
        }
    }
    return true;
}

int kafka_describe_producers(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    uint64_t n = 0;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_describe_producers_response_init(&s->response);
    rv = kafka_describe_producers_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        n += (uint64_t)s->m.topics[i].partition_indexes_count;
    }
    if (n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    s->describes = service_describes_new((uint32_t)n);
    s->places = kafka_alloc(r, (size_t)n, sizeof(void *));
    r->cleanup = cleanup;
    if (s->describes == NULL || s->places == NULL || !begin_parts(r, s)) {
        return ERR_NOMEM;
    }
    s->describes->n = s->n_parts; /* the others have their answer already */
    s->describes->leader_only = true;
    s->describes->data = r;
    s->describes->done = described;
    service_describes(r->service, s->describes);
    return 0;
}
