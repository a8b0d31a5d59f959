/* What the group calls share, and finding coordinators. */
#include "node/native/native_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void group_request_free(struct native_request *request)
{
    struct group_request *r = container_of(request, struct group_request, request);
    service_groups_free(r->groups);
    free(r->memory);
    protobuf_c_message_free_unpacked(r->message, NULL);
    free(r);
}

ProtobufCMessage *group_unpack(const struct frame *frame, const ProtobufCMessageDescriptor *descriptor)
{
    return protobuf_c_message_unpack(descriptor, NULL, frame->header.message_length, frame->message);
}

static void set_client(struct group_request *r)
{
    const char *peer = r->request.session->peer;
    const char *colon = strrchr(peer, ':');
    snprintf(r->client, sizeof r->client, "%s", r->request.session->client);
    snprintf(r->host, sizeof r->host, "/%.*s", colon == NULL ? 0 : (int)(colon - peer), peer);
}

int group_request_new(struct native_session *session, const struct frame *frame, ProtobufCMessage *message,
                      uint32_t calls, enum coordinator_verb verb, struct group_request **out)
{
    struct service_groups *groups = NULL;
    struct group_request *r;

    if (message == NULL) {
        return ERR_MALFORMED;
    }
    if (calls > 0) {
        groups = service_groups_new(calls);
        if (groups == NULL) {
            goto err;
        }
    }
    r = native_request_new(session, frame, sizeof *r);
    if (r == NULL) {
        goto err_after_groups;
    }
    r->request.free = group_request_free;
    r->message = message;
    r->groups = groups;
    set_client(r);
    for (uint32_t i = 0; i < calls; i++) {
        groups->calls[i].op.verb = verb;
    }
    *out = r;
    return 0;
err_after_groups:
    service_groups_free(groups);
err:
    protobuf_c_message_free_unpacked(message, NULL);
    return ERR_NOMEM;
}

void group_request_ask(struct group_request *r, void (*done)(struct service_groups *g))
{
    struct native_session *session = r->request.session;
    r->groups->ctx = &session->ctx;
    r->groups->data = r;
    r->groups->done = done;
    service_groups(session->service, r->groups);
}

void group_request_fail(struct group_request *r, int error, const char *group, const struct group_blob *member)
{
    struct native_session *session = r->request.session;
    Cairn__Native__Failure failure = CAIRN__NATIVE__FAILURE__INIT;

    failure.text = (char *)(uintptr_t)err_text(error);
    failure.member = group_text(member);
    if (error == ERR_NOT_COORDINATOR) {
        failure.leader_node = service_coordinator_of(session->service, group);
        failure.leader_address =
            (char *)(uintptr_t)service_address(session->service, &session->ctx, failure.leader_node);
    }
    native_answer(&r->request, error, &failure.base, NULL);
}

void **group_messages_new(size_t n, size_t size, void **messages)
{
    /* Pointers first: what follows them is aligned for anything that a message holds. */
    size_t pointers = (n + 1) * sizeof(void *) + 15;
    char *block;
    pointers -= pointers % 16;
    block = calloc(1, pointers + n * size);
    if (block == NULL) {
        return NULL;
    }
    *messages = block;
    for (size_t i = 0; i < n; i++) {
        ((void **)(void *)block)[i] = block + pointers + i * size;
    }
    return (void **)(void *)block;
}

/* ---- find the coordinators -------------------------------------------------------------------------------------- */

struct find_request {
    struct native_request request;
    Cairn__Native__FindCoordinatorRequest *message;
    struct service_find_coordinator *finds;
    uint32_t pending;
};

static void find_request_free(struct native_request *request)
{
    struct find_request *r = container_of(request, struct find_request, request);
    cairn__native__find_coordinator_request__free_unpacked(r->message, NULL);
    free(r->finds);
    free(r);
}

/* Addresses are looked up here, for all alike: those that came with the answers were good in their callbacks only. */
static void find_answer(struct find_request *r)
{
    struct native_session *session = r->request.session;
    Cairn__Native__FindCoordinatorResponse response = CAIRN__NATIVE__FIND_COORDINATOR_RESPONSE__INIT;
    void *block = NULL;
    void **infos = group_messages_new(r->message->n_groups, sizeof(Cairn__Native__CoordinatorInfo), &block);

    if (infos == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return;
    }
    for (size_t i = 0; i < r->message->n_groups; i++) {
        Cairn__Native__CoordinatorInfo *info = infos[i];
        cairn__native__coordinator_info__init(info);
        info->group = r->message->groups[i];
        info->error = (uint32_t)r->finds[i].error;
        info->node = r->finds[i].error == 0 ? r->finds[i].node : 0;
        info->address = (char *)(uintptr_t)service_address(session->service, &session->ctx, info->node);
    }
    response.n_coordinators = r->message->n_groups;
    response.coordinators = (Cairn__Native__CoordinatorInfo **)infos;
    native_answer(&r->request, 0, &response.base, NULL);
    free(block);
}

static void find_part_done(struct find_request *r)
{
    r->pending--;
    if (r->pending == 0) {
        find_answer(r);
    }
}

static void found(struct service_find_coordinator *f)
{
    find_part_done(f->data);
}

int native_find_coordinator(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__FindCoordinatorRequest *m =
        cairn__native__find_coordinator_request__unpack(NULL, frame->header.message_length, frame->message);
    struct find_request *r;

    if (m == NULL || m->n_groups == 0 || m->n_groups > SERVICE_GROUPS_MAX) {
        if (m != NULL) {
            cairn__native__find_coordinator_request__free_unpacked(m, NULL);
        }
        return ERR_MALFORMED;
    }
    r = native_request_new(session, frame, sizeof *r);
    if (r == NULL) {
        cairn__native__find_coordinator_request__free_unpacked(m, NULL);
        return ERR_NOMEM;
    }
    r->request.free = find_request_free;
    r->message = m;
    r->finds = calloc(m->n_groups, sizeof *r->finds);
    if (r->finds == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return 0;
    }
    r->pending = (uint32_t)m->n_groups + 1; /* one for this loop: answers may come inside the calls */
    for (size_t i = 0; i < m->n_groups; i++) {
        r->finds[i].ctx = &session->ctx;
        r->finds[i].group = m->groups[i];
        r->finds[i].data = r;
        r->finds[i].done = found;
        service_find_coordinator(session->service, &r->finds[i]);
    }
    find_part_done(r);
    return 0;
}
