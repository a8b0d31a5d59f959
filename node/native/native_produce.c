#include <stdlib.h>

#include "node/native/native_internal.h"

static void produced(struct service_produce *p)
{
    struct native_request *request = p->data;
    struct service *s = request->session->service;
    Cairn__Native__ProduceResponse response = CAIRN__NATIVE__PRODUCE_RESPONSE__INIT;
    Cairn__Native__ProducePartitionResult *results = calloc(p->n, sizeof *results);
    Cairn__Native__ProducePartitionResult **pointers = calloc(p->n, sizeof *pointers);

    if (results == NULL || pointers == NULL) {
        native_fail(request, ERR_UNKNOWN_OUTCOME, "out of memory for the answer");
        goto out;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        struct service_produce_part *part = &p->parts[i];
        Cairn__Native__ProducePartitionResult *r = &results[i];
        cairn__native__produce_partition_result__init(r);
        r->topic_id = native_uuid_bytes(&part->topic_id);
        r->partition = part->partition;
        r->error = (uint32_t)service_produce_error(part);
        r->base_offset = -1;
        if (part->completed) {
            r->base_offset = part->op.base_offset;
            r->log_start_offset = part->op.where.log_start;
            r->leader_epoch = part->op.where.leader_epoch;
            r->error_text = part->op.text;
            if (r->error == ERR_NOT_LEADER || r->error == ERR_UNKNOWN_TOPIC) {
                r->leader_node = part->op.where.leader_node;
                r->leader_address = (char *)(uintptr_t)service_address(s, &request->session->ctx, r->leader_node);
            }
        }
        pointers[i] = r;
    }
    response.n_partitions = p->n;
    response.partitions = pointers;
    native_answer(request, 0, &response.base, NULL);
out:
    free(pointers);
    free(results);
}

int native_produce(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__ProduceRequest *m =
        cairn__native__produce_request__unpack(NULL, frame->header.message_length, frame->message);
    struct native_request *request = NULL;
    struct service_produce *p = NULL;
    uint64_t position = 0;
    int rv = ERR_MALFORMED;

    if (m == NULL || m->n_partitions == 0 || m->n_partitions > SERVICE_PARTS_MAX) {
        goto out;
    }
    rv = ERR_NOMEM;
    p = service_produce_new((uint32_t)m->n_partitions);
    if (p == NULL) {
        goto out;
    }
    rv = ERR_MALFORMED;
    for (uint32_t i = 0; i < p->n; i++) {
        const Cairn__Native__ProducePartition *in = m->partitions[i];
        struct service_produce_part *part = &p->parts[i];
        if (!native_uuid(&in->topic_id, &part->topic_id) || in->size > frame->header.payload_length - position) {
            goto out;
        }
        part->partition = in->partition;
        part->op.buf = buf_acquire(frame->buf);
        /* This slice of the receive buffer is the batch's own: it is stamped in place. */
        part->op.data = (uint8_t *)(uintptr_t)frame->payload + position;
        part->op.size = in->size;
        position += in->size;
    }
    if (position != frame->header.payload_length) {
        goto out;
    }
    rv = ERR_NOMEM;
    request = native_request_new(session, frame, sizeof *request);
    if (request == NULL) {
        goto out;
    }
    p->ctx = &session->ctx;
    p->timeout_ms = m->timeout_ms;
    p->data = request;
    p->done = produced;
    service_produce(session->service, p);
    p = NULL;
    rv = 0;
out:
    if (p != NULL) {
        service_produce_free(p);
    }
    if (m != NULL) {
        cairn__native__produce_request__free_unpacked(m, NULL);
    }
    return rv;
}
