/* Fetch: no sessions (session id 0 says so, and every request names all its partitions). Records leave from where they
 * are in memory, batch by batch, as their producers sent them. */
#include <stdlib.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/fetch.h"

#define IDS_VERSION_MIN 13 /* topics by id */

/* Where the result of a part of the verb goes, and what its client believed. */
struct place {
    struct kafka_fetch_response_partition *out;
    int32_t leader_epoch;
};

struct state {
    struct kafka_fetch_request m;
    struct kafka_fetch_response response;
    struct place *places;
    uint32_t n_parts;
    bool failed; /* a partition has its answer already, or will have an error: there is nothing to wait for */
};

/* ---- the answer
 * ------------------------------------------------------------------------------------------------------------- */

static bool add_endpoint(struct kafka_request *r, struct kafka_fetch_response *response, uint32_t node)
{
    struct kafka_fetch_response_node *out;
    for (int32_t i = 0; i < response->node_endpoints_count; i++) {
        if (response->node_endpoints[i].node_id == (int32_t)node) {
            return true;
        }
    }
    if (response->node_endpoints == NULL) {
        response->node_endpoints =
            kafka_alloc(r, metadata_fsm_nodes(service_metadata(r->service)), sizeof *response->node_endpoints);
    }
    if (response->node_endpoints == NULL) {
        return false;
    }
    out = &response->node_endpoints[response->node_endpoints_count];
    kafka_fetch_response_node_init(out);
    out->node_id = (int32_t)node;
    response->node_endpoints_count += kafka_endpoint(r, node, &out->host, &out->port);
    return true;
}

static bool fill_failure(struct kafka_request *r, struct state *s, const struct service_fetch_part *part,
                         struct kafka_fetch_response_partition *out, int16_t code)
{
    out->error_code = code;
    out->high_watermark = -1;
    out->records = (struct kafka_bytes){(const uint8_t *)"", 0};
    if ((code == KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER || code == KAFKA_ERROR_FENCED_LEADER_EPOCH) && part != NULL &&
        kafka_node_usable(r, part->op.where.leader_node)) {
        out->current_leader.leader_id = (int32_t)part->op.where.leader_node;
        out->current_leader.leader_epoch = (int32_t)part->op.where.leader_epoch;
        return add_endpoint(r, &s->response, part->op.where.leader_node);
    }
    return true;
}

static bool fill_part(struct kafka_request *r, struct state *s, struct service_fetch_part *part,
                      const struct place *place)
{
    struct kafka_fetch_response_partition *out = place->out;
    int16_t code = part->op.error == 0 || part->op.error == ERR_NOT_LEADER
                       ? kafka_check_epoch(place->leader_epoch, part->op.where.leader_epoch)
                       : 0;

    if (code == KAFKA_ERROR_UNKNOWN_LEADER_EPOCH && part->op.error != 0) {
        code = 0; /* it knows of a newer leader than this node, which is none: "not me" says more */
    }
    if (code == 0) {
        code = kafka_error_from_err(part->op.error, KAFKA_PARTITION);
    }
    if (code != 0) {
        partition_fetch_release(&part->op);
        return fill_failure(r, s, part, out, code);
    }
    out->high_watermark = part->op.where.high_watermark;
    out->last_stable_offset = part->op.where.high_watermark; /* no transaction is ever open */
    out->log_start_offset = part->op.where.log_start;
    out->records = kafka_records_of(&part->op);
    return true;
}

static void fetched(struct service_fetch *f)
{
    struct kafka_request *r = f->data;
    struct state *s = r->state;

    list_remove(&f->link);
    if (r->session->out_bytes + r->session->waiting_bytes > KAFKA_OUT_MAX_BYTES) {
        /* It asked for all this at once and does not take it: it may ask again. */
        for (uint32_t i = 0; i < f->n; i++) {
            partition_fetch_release(&f->parts[i].op);
        }
    }
    for (uint32_t i = 0; i < f->n; i++) {
        if (!fill_part(r, s, &f->parts[i], &s->places[i])) {
            service_fetch_free(f);
            kafka_drop(r);
            return;
        }
    }
    kafka_answer_fetch(r, &s->response, f);
}

/* ---- the request
 * ---------------------------------------------------------------------------------------------------------------- */

/* It will hear of a newer leader, whatever comes: at once then, not when the wait is over. */
static bool is_fenced(struct kafka_request *r, const struct metadata_partition *p, int32_t leader_epoch)
{
    int32_t known = 0;
    (void)kafka_leader_of(r, p, &known);
    return leader_epoch >= 0 && leader_epoch < known;
}

static void begin_part(struct kafka_request *r, struct state *s, const struct metadata_topic *t,
                       const struct kafka_fetch_request_partition *in, struct kafka_fetch_response_partition *out,
                       struct service_fetch *f)
{
    struct service_fetch_part *part;
    int16_t code = 0;

    kafka_fetch_response_partition_init(out);
    out->partition_index = in->partition;
    if (s->m.isolation_level == 0) {
        out->aborted_transactions_count = -1; /* not asked for */
    }
    if (metadata_topic_partition(t, in->partition) == NULL) {
        code = t == NULL && r->version >= IDS_VERSION_MIN ? KAFKA_ERROR_UNKNOWN_TOPIC_ID
                                                          : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    } else if (in->fetch_offset < 0) {
        code = KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
    }
    if (code != 0) {
        (void)fill_failure(r, s, NULL, out, code);
        s->failed = true;
        return;
    }
    s->failed = s->failed || is_fenced(r, &t->partitions[in->partition], in->current_leader_epoch);
    s->places[s->n_parts] = (struct place){out, in->current_leader_epoch};
    part = &f->parts[s->n_parts++];
    part->topic_id = t->id;
    part->partition = (uint32_t)in->partition;
    part->op.offset = in->fetch_offset;
    part->op.max_bytes = in->partition_max_bytes > 0 ? (uint32_t)in->partition_max_bytes : 1;
}

static bool begin_parts(struct kafka_request *r, struct state *s, struct service_fetch *f)
{
    s->response.responses = kafka_alloc(r, (size_t)s->m.topics_count, sizeof *s->response.responses);
    if (s->response.responses == NULL) {
        return false;
    }
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        const struct kafka_fetch_request_topic *in = &s->m.topics[i];
        struct kafka_fetch_response_topic *out = &s->response.responses[s->response.responses_count++];
        const struct metadata_topic *t = r->version >= IDS_VERSION_MIN
                                             ? metadata_fsm_topic(service_metadata(r->service), &in->topic_id)
                                             : kafka_find_topic(r, in->topic);
        out->topic = in->topic;
        out->topic_id = in->topic_id;
        out->partitions = kafka_alloc(r, (size_t)in->partitions_count, sizeof *out->partitions);
        if (out->partitions == NULL) {
            return false;
        }
        for (int32_t k = 0; k < in->partitions_count; k++) {
            begin_part(r, s, t, &in->partitions[k], &out->partitions[out->partitions_count++], f);
        }
    }
    return true;
}

static uint64_t count_parts(const struct state *s)
{
    uint64_t n = 0;
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        n += (uint64_t)s->m.topics[i].partitions_count;
    }
    return n;
}

int kafka_fetch(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    struct service_fetch *f;
    uint64_t n;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_fetch_response_init(&s->response);
    rv = kafka_fetch_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    n = count_parts(s);
    if (n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    if (s->m.session_id != 0) { /* none was ever given */
        s->response.error_code = KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND;
        kafka_answer(r, &s->response);
        return 0;
    }
    f = service_fetch_new((uint32_t)n);
    s->places = kafka_alloc(r, (size_t)n, sizeof *s->places);
    if (f == NULL || s->places == NULL || !begin_parts(r, s, f)) {
        if (f != NULL) {
            service_fetch_free(f);
        }
        return ERR_NOMEM;
    }
    f->n = s->n_parts; /* the others have their answer already */
    f->ctx = &r->session->ctx;
    f->max_wait_ms = s->m.max_wait_ms > 0 && s->m.min_bytes > 0 && !s->failed ? (uint32_t)s->m.max_wait_ms : 0;
    f->min_bytes = s->m.min_bytes > 0 ? (uint32_t)s->m.min_bytes : 0;
    f->max_bytes = s->m.max_bytes > 0 ? (uint32_t)s->m.max_bytes : 1;
    f->data = r;
    f->done = fetched;
    list_push_back(&r->session->fetches, &f->link);
    service_fetch(r->service, f);
    return 0;
}
