/* Produce: every partition's batch goes to its leader as it came, and is acknowledged when it is on a majority's disks,
 * whatever acks says. With acks 0 there is no answer; an error then closes the connection, so that the client looks for
 * the leader again, as Kafka does it. */
#include <stdlib.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/produce.h"
#include "proto/record/record_batch.h"

#define ZSTD_VERSION_MIN 7 /* KIP-110 */
#define ACKS_ALL -1

struct state {
    struct kafka_produce_request m;
    struct kafka_produce_response response;
    struct kafka_produce_response_partition **parts; /* where the result of each part of the verb goes */
    uint32_t n_parts;
    bool failed; /* any of them */
};

static void fail(struct state *s, struct kafka_produce_response_partition *out, int16_t code)
{
    out->error_code = code;
    out->base_offset = -1;
    s->failed = true;
}

/* ---- the answer
 * ------------------------------------------------------------------------------------------------------------- */

static int16_t error_of(int error)
{
    switch (error) {
    case ERR_MALFORMED: /* not exactly one batch, or not of the format */
    case ERR_VERSION:
        return KAFKA_ERROR_INVALID_RECORD;
    default:
        return kafka_error_from_err(error, KAFKA_PARTITION);
    }
}

/* KIP-951: who leads now comes with the refusal. */
static bool add_endpoint(struct kafka_request *r, struct kafka_produce_response *response, uint32_t node)
{
    struct kafka_produce_response_node *out;
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
    kafka_produce_response_node_init(out);
    out->node_id = (int32_t)node;
    response->node_endpoints_count += kafka_endpoint(r, node, &out->host, &out->port);
    return true;
}

static bool fill_part(struct kafka_request *r, struct state *s, const struct service_produce_part *part,
                      struct kafka_produce_response_partition *out)
{
    int error = service_produce_error(part);

    if (error == 0) {
        out->base_offset = part->op.base_offset;
        out->log_start_offset = part->op.where.log_start;
        return true;
    }
    fail(s, out, error_of(error));
    if (part->completed && part->op.text[0] != '\0') {
        out->error_message = kafka_format(r, "%s", part->op.text);
    }
    if (part->completed && out->error_code == KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER &&
        kafka_node_usable(r, part->op.where.leader_node)) {
        out->current_leader.leader_id = (int32_t)part->op.where.leader_node;
        out->current_leader.leader_epoch = (int32_t)part->op.where.leader_epoch;
        return add_endpoint(r, &s->response, part->op.where.leader_node);
    }
    return true;
}

static void answer(struct kafka_request *r)
{
    struct state *s = r->state;
    if (s->m.acks != 0) {
        kafka_answer(r, &s->response);
    } else if (s->failed) {
        kafka_hang_up(r, "Produce with acks 0 failed: that is how its client learns of it");
    } else {
        kafka_answer_nothing(r);
    }
}

static void produced(struct service_produce *p)
{
    struct kafka_request *r = p->data;
    struct state *s = r->state;

    for (uint32_t i = 0; i < p->n; i++) {
        if (!fill_part(r, s, &p->parts[i], s->parts[i])) {
            kafka_drop(r);
            return;
        }
    }
    answer(r);
}

/* ---- the request
 * ---------------------------------------------------------------------------------------------------------------- */

/* What the protocol's version has to say about a batch; the partition judges the rest. */
static int16_t check_batch(const struct kafka_request *r, const struct state *s, const struct kafka_bytes *records)
{
    struct record_batch_header batch;

    if (s->m.acks < -1 || s->m.acks > 1) {
        return KAFKA_ERROR_INVALID_REQUIRED_ACKS;
    }
    if (records->length <= 0) {
        return KAFKA_ERROR_INVALID_RECORD;
    }
    if (record_batch_peek(records->data, (size_t)records->length, &batch) != 0) {
        return 0; /* the partition says what is wrong with it */
    }
    if (record_batch_codec(&batch) == 4 && r->version < ZSTD_VERSION_MIN) {
        return KAFKA_ERROR_UNSUPPORTED_COMPRESSION_TYPE;
    }
    if (s->m.transactional_id.length >= 0 || record_batch_is_transactional(&batch)) {
        return KAFKA_ERROR_INVALID_TXN_STATE; /* nobody can have begun a transaction here */
    }
    return 0;
}

static void begin_part(struct kafka_request *r, struct state *s, const struct metadata_topic *t,
                       const struct kafka_produce_request_partition *in, struct kafka_produce_response_partition *out,
                       struct service_produce *p)
{
    int16_t code = check_batch(r, s, &in->records);
    struct service_produce_part *part;

    kafka_produce_response_partition_init(out);
    out->index = in->index;
    if (code == 0 && metadata_topic_partition(t, in->index) == NULL) {
        code = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (code != 0) {
        fail(s, out, code);
        return;
    }
    s->parts[s->n_parts] = out;
    part = &p->parts[s->n_parts++];
    part->topic_id = t->id;
    part->partition = (uint32_t)in->index;
    part->op.buf = buf_acquire(r->buf);
    /* This slice of the receive buffer is the batch's own: it is stamped in place. */
    part->op.data = (uint8_t *)(uintptr_t)in->records.data;
    part->op.size = (uint32_t)in->records.length;
}

static bool begin_parts(struct kafka_request *r, struct state *s, struct service_produce *p)
{
    s->response.responses = kafka_alloc(r, (size_t)s->m.topic_data_count, sizeof *s->response.responses);
    if (s->response.responses == NULL) {
        return false;
    }
    for (int32_t i = 0; i < s->m.topic_data_count; i++) {
        const struct kafka_produce_request_topic *in = &s->m.topic_data[i];
        struct kafka_produce_response_topic *out = &s->response.responses[s->response.responses_count++];
        const struct metadata_topic *t = kafka_find_topic(r, in->name);
        out->name = in->name;
        out->partition_responses = kafka_alloc(r, (size_t)in->partition_data_count, sizeof *out->partition_responses);
        if (out->partition_responses == NULL) {
            return false;
        }
        for (int32_t k = 0; k < in->partition_data_count; k++) {
            begin_part(r, s, t, &in->partition_data[k], &out->partition_responses[out->partition_responses_count++], p);
        }
    }
    return true;
}

/* Versions 0 to 2 are advertised for old clients' sake and never carried out. */
static void refuse_all(struct kafka_request *r, struct state *s)
{
    for (int32_t i = 0; i < s->response.responses_count; i++) {
        struct kafka_produce_response_topic *t = &s->response.responses[i];
        for (int32_t k = 0; k < t->partition_responses_count; k++) {
            fail(s, &t->partition_responses[k], KAFKA_ERROR_UNSUPPORTED_VERSION);
        }
    }
    answer(r);
}

int kafka_produce(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    struct service_produce *p;
    uint64_t n = 0;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_produce_response_init(&s->response);
    rv = kafka_produce_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    for (int32_t i = 0; i < s->m.topic_data_count; i++) {
        n += (uint64_t)s->m.topic_data[i].partition_data_count;
    }
    if (n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    p = service_produce_new((uint32_t)n);
    s->parts = kafka_alloc(r, (size_t)n, sizeof(void *));
    if (p == NULL || s->parts == NULL || !begin_parts(r, s, p)) {
        if (p != NULL) {
            service_produce_free(p);
        }
        return ERR_NOMEM;
    }
    if (!kafka_api_serves(r->header.api, r->version) || s->n_parts == 0) {
        bool serves = kafka_api_serves(r->header.api, r->version);
        service_produce_free(p);
        if (serves) {
            answer(r);
        } else {
            refuse_all(r, s);
        }
        return 0;
    }
    p->n = s->n_parts; /* the others have their answer already */
    p->ctx = &r->session->ctx;
    /* Only a client that asks for all copies sets a limit to the wait for them; with acks 0 and 1 many send 0. */
    p->timeout_ms = s->m.acks != ACKS_ALL ? 0 : s->m.timeout_ms > 0 ? (uint32_t)s->m.timeout_ms : 1;
    p->data = r;
    p->done = produced;
    service_produce(r->service, p);
    return 0;
}
