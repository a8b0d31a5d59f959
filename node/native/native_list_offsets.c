#include <stdlib.h>

#include "node/native/native_internal.h"

struct list_request {
    struct native_request request;
    struct service_list_offsets *list;
};

static void list_request_free(struct native_request *request)
{
    struct list_request *r = (struct list_request *)(void *)request;
    free(r->list);
    free(r);
}

static void listed(struct service_list_offsets *l)
{
    struct native_request *request = l->data;
    struct service *s = request->session->service;
    Cairn__Native__ListOffsetsResponse response = CAIRN__NATIVE__LIST_OFFSETS_RESPONSE__INIT;
    Cairn__Native__ListOffsetsResult *results = calloc(l->n, sizeof *results);
    Cairn__Native__ListOffsetsResult **pointers = calloc(l->n, sizeof *pointers);

    if (results == NULL || pointers == NULL) {
        native_fail(request, ERR_NOMEM, NULL);
        goto out;
    }
    for (uint32_t i = 0; i < l->n; i++) {
        struct service_list_offsets_part *part = &l->parts[i];
        Cairn__Native__ListOffsetsResult *r = &results[i];
        cairn__native__list_offsets_result__init(r);
        r->topic_id = native_uuid_bytes(&part->topic_id);
        r->partition = part->partition;
        r->error = (uint32_t)part->op.error;
        r->offset = part->op.offset;
        r->timestamp_ms = part->op.timestamp_ms;
        r->leader_epoch = part->op.where.leader_epoch;
        if (r->error == ERR_NOT_LEADER || r->error == ERR_UNKNOWN_TOPIC) {
            r->leader_node = part->op.where.leader_node;
            r->leader_address = (char *)(uintptr_t)service_address(s, &request->session->ctx, r->leader_node);
        }
        pointers[i] = r;
    }
    response.n_partitions = l->n;
    response.partitions = pointers;
    native_answer(request, 0, &response.base, NULL);
out:
    free(pointers);
    free(results);
}

int native_list_offsets(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__ListOffsetsRequest *m =
        cairn__native__list_offsets_request__unpack(NULL, frame->header.message_length, frame->message);
    struct list_request *r;
    struct service_list_offsets *l = NULL;
    int rv = ERR_MALFORMED;

    if (m == NULL || m->n_partitions == 0 || m->n_partitions > SERVICE_PARTS_MAX) {
        goto out;
    }
    rv = ERR_NOMEM;
    l = service_list_offsets_new((uint32_t)m->n_partitions);
    if (l == NULL) {
        goto out;
    }
    rv = ERR_MALFORMED;
    for (uint32_t i = 0; i < l->n; i++) {
        const Cairn__Native__ListOffsetsPartition *in = m->partitions[i];
        if (!native_uuid(&in->topic_id, &l->parts[i].topic_id) || in->timestamp_ms < -2) {
            goto out;
        }
        l->parts[i].partition = in->partition;
        l->parts[i].op.time_ms = in->timestamp_ms;
    }
    rv = ERR_NOMEM;
    r = native_request_new(session, frame, sizeof *r);
    if (r == NULL) {
        goto out;
    }
    r->request.free = list_request_free;
    r->list = l;
    l->ctx = &session->ctx;
    l->data = &r->request;
    l->done = listed;
    service_list_offsets(session->service, l);
    l = NULL;
    rv = 0;
out:
    free(l);
    if (m != NULL) {
        cairn__native__list_offsets_request__free_unpacked(m, NULL);
    }
    return rv;
}
