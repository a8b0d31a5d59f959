#include <stdlib.h>

#include "node/native/native_internal.h"

static void fetched(struct service_fetch *f)
{
    struct native_request *request = f->data;
    struct service *s = request->session->service;
    Cairn__Native__FetchResponse response = CAIRN__NATIVE__FETCH_RESPONSE__INIT;
    Cairn__Native__FetchPartitionResult *results = calloc(f->n, sizeof *results);
    Cairn__Native__FetchPartitionResult **pointers = calloc(f->n, sizeof *pointers);

    list_remove(&f->link);
    if (request->session->out_bytes > NATIVE_OUT_MAX_BYTES) {
        /* It asked for all this at once and does not take it: it may ask again. */
        for (uint32_t i = 0; i < f->n; i++) {
            partition_fetch_release(&f->parts[i].op);
        }
    }
    if (results == NULL || pointers == NULL) {
        native_fail(request, ERR_NOMEM, NULL);
        service_fetch_free(f);
        goto out;
    }
    for (uint32_t i = 0; i < f->n; i++) {
        struct service_fetch_part *part = &f->parts[i];
        Cairn__Native__FetchPartitionResult *r = &results[i];
        cairn__native__fetch_partition_result__init(r);
        r->topic_id = native_uuid_bytes(&part->topic_id);
        r->partition = part->partition;
        r->error = (uint32_t)part->op.error;
        r->high_watermark = part->op.where.high_watermark;
        r->log_start_offset = part->op.where.log_start;
        r->leader_epoch = part->op.where.leader_epoch;
        r->size = part->op.bytes;
        if (r->error == ERR_NOT_LEADER || r->error == ERR_UNKNOWN_TOPIC) {
            r->leader_node = part->op.where.leader_node;
            r->leader_address = (char *)(uintptr_t)service_address(s, &request->session->ctx, r->leader_node);
        }
        pointers[i] = r;
    }
    response.n_partitions = f->n;
    response.partitions = pointers;
    native_answer(request, 0, &response.base, f);
out:
    free(pointers);
    free(results);
}

int native_fetch(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__FetchRequest *m =
        cairn__native__fetch_request__unpack(NULL, frame->header.message_length, frame->message);
    struct native_request *request;
    struct service_fetch *f = NULL;
    int rv = ERR_MALFORMED;

    if (m == NULL || m->n_partitions == 0 || m->n_partitions > SERVICE_PARTS_MAX) {
        goto out;
    }
    rv = ERR_NOMEM;
    f = service_fetch_new((uint32_t)m->n_partitions);
    if (f == NULL) {
        goto out;
    }
    rv = ERR_MALFORMED;
    for (uint32_t i = 0; i < f->n; i++) {
        const Cairn__Native__FetchPartition *in = m->partitions[i];
        struct service_fetch_part *part = &f->parts[i];
        if (!native_uuid(&in->topic_id, &part->topic_id) || in->offset < 0) {
            goto out;
        }
        part->partition = in->partition;
        part->op.offset = in->offset;
        part->op.max_bytes = in->max_bytes;
    }
    rv = ERR_NOMEM;
    request = native_request_new(session, frame, sizeof *request);
    if (request == NULL) {
        goto out;
    }
    f->ctx = &session->ctx;
    f->max_wait_ms = m->max_wait_ms;
    f->min_bytes = m->min_bytes;
    f->max_bytes = m->max_bytes;
    f->data = request;
    f->done = fetched;
    list_push_back(&session->fetches, &f->link);
    service_fetch(session->service, f);
    f = NULL;
    rv = 0;
out:
    if (f != NULL) {
        service_fetch_free(f);
    }
    if (m != NULL) {
        cairn__native__fetch_request__free_unpacked(m, NULL);
    }
    return rv;
}
