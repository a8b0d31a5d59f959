#include "node/native/native.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/native/native_internal.h"

struct native_handler {
    uint16_t call;
    int (*handle)(struct native_session *session, const struct frame *frame);
};

static const struct native_handler handlers[] = {
    {CALL_HELLO, native_hello},
    {CALL_METADATA, native_metadata},
    {CALL_PRODUCE, native_produce},
    {CALL_FETCH, native_fetch},
    {CALL_LIST_OFFSETS, native_list_offsets},
    {CALL_INIT_PRODUCER_ID, native_init_producer_id},
    {CALL_CREATE_TOPIC, native_create_topic},
    {CALL_DELETE_TOPIC, native_delete_topic},
    {CALL_LIST_TOPICS, native_list_topics},
    {CALL_DESCRIBE_TOPIC, native_describe_topic},
    {CALL_CLUSTER_STATUS, native_cluster_status},
    {CALL_FIND_COORDINATOR, native_find_coordinator},
    {CALL_JOIN_GROUP, native_join_group},
    {CALL_SYNC_GROUP, native_sync_group},
    {CALL_GROUP_HEARTBEAT, native_group_heartbeat},
    {CALL_LEAVE_GROUP, native_leave_group},
    {CALL_COMMIT_OFFSETS, native_commit_offsets},
    {CALL_FETCH_OFFSETS, native_fetch_offsets},
    {CALL_LIST_GROUPS, native_list_groups},
    {CALL_DESCRIBE_GROUPS, native_describe_groups},
    {CALL_DELETE_GROUPS, native_delete_groups},
    {CALL_DELETE_OFFSETS, native_delete_offsets},
    {CALL_GROUP_LAG, native_group_lag},
};

void native_session_init(struct native_session *session, struct service *service, const char *listener)
{
    session->service = service;
    session->ctx.principal = "anonymous";
    session->ctx.listener = listener;
    session->ctx.client = session->client;
    session->peer = "";
    session->client[0] = '\0';
    session->requests = 0;
    session->closed = false;
    session->out_bytes = 0;
    list_init(&session->under_way);
    list_init(&session->fetches);
}

static const struct native_handler *find_handler(uint16_t call)
{
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].call == call) {
            return &handlers[i];
        }
    }
    return NULL;
}

/* An unknown call or version gets an answer that says so, with what would be understood. */
static int answer_unknown(struct native_session *session, const struct frame *frame, int error)
{
    struct native_request *request = native_request_new(session, frame, sizeof *request);
    Cairn__Native__Failure failure = CAIRN__NATIVE__FAILURE__INIT;
    char text[ERRMSG_SIZE];

    if (request == NULL) {
        return ERR_NOMEM;
    }
    snprintf(text, sizeof text, "call %u version %u is not known to this node (%s)", frame->header.call,
             frame->header.call_version, service_version(session->service));
    failure.text = text;
#define X(name, number, min, max)                                                                                      \
    if (frame->header.call == (number) && (number) < CALL_PEER_FIRST) {                                                \
        failure.version_min = (min);                                                                                   \
        failure.version_max = (max);                                                                                   \
    }
    CALL_TABLE(X)
#undef X
    native_answer(request, error, &failure.base, NULL);
    return 0;
}

int native_session_receive(struct native_session *session, struct frame *frame, char *errmsg)
{
    const struct native_handler *handler = find_handler(frame->header.call);
    int rv;

    if (frame->header.kind != FRAME_REQUEST) {
        snprintf(errmsg, ERRMSG_SIZE, "a response where a request was expected");
        buf_release(frame->buf);
        return ERR_MALFORMED;
    }
    rv = handler == NULL ? ERR_UNKNOWN_CALL : call_check(frame->header.call, frame->header.call_version);
    rv = rv != 0 ? answer_unknown(session, frame, rv) : handler->handle(session, frame);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "%srequest %s: %s", rv == ERR_MALFORMED ? "malformed " : "",
                 call_name(frame->header.call), err_text(rv));
    }
    buf_release(frame->buf);
    return rv;
}

bool native_session_close(struct native_session *session)
{
    session->closed = true;
    session->requests++; /* fetches may end inside the calls */
    list_for_each_safe(pos, &session->fetches)
    {
        service_fetch_cancel(list_entry(pos, struct service_fetch, link)); /* ends itself alone */
    }
    session->requests--;
    return session->requests == 0;
}

void native_session_abandon(struct native_session *session)
{
    struct list *pos;
    while ((pos = list_pop_front(&session->fetches)) != NULL) {
        service_fetch_free(list_entry(pos, struct service_fetch, link));
    }
    while ((pos = list_pop_front(&session->under_way)) != NULL) {
        struct native_request *request = list_entry(pos, struct native_request, link);
        request->free(request);
    }
}

/* ---- requests and answers ------------------------------------------------------------------------------------------- */

static void request_free(struct native_request *request)
{
    free(request);
}

void *native_request_new(struct native_session *session, const struct frame *frame, size_t size)
{
    struct native_request *request = calloc(1, size);
    if (request == NULL) {
        return NULL;
    }
    request->session = session;
    request->correlation = frame->header.correlation;
    request->call = frame->header.call;
    request->call_version = frame->header.call_version;
    request->free = request_free;
    list_push_back(&session->under_way, &request->link);
    session->requests++;
    return request;
}

void native_request_end(struct native_request *request)
{
    struct native_session *session = request->session;
    list_remove(&request->link);
    request->free(request);
    session->requests--;
    if (session->closed && session->requests == 0) {
        session->idle(session);
    }
}

/* Pieces of the payload: the batches of all parts, in order. */
static int add_payload(struct service_answer *r, const struct service_fetch *fetch)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < fetch->n; i++) {
        n += fetch->parts[i].op.n;
    }
    if (n == 1) {
        return 0;
    }
    r->iov = malloc(n * sizeof *r->iov);
    if (r->iov == NULL) {
        r->iov = r->iov_inline;
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < fetch->n; i++) {
        const struct partition_fetch *op = &fetch->parts[i].op;
        for (uint32_t k = 0; k < op->n; k++) {
            r->iov[r->n_iov].iov_base = (void *)(uintptr_t)op->entries[k]->data;
            r->iov[r->n_iov].iov_len = op->entries[k]->length;
            r->bytes += op->entries[k]->length;
            r->n_iov++;
        }
    }
    return 0;
}

static struct service_answer *response_new(const struct native_request *request, int status,
                                            const ProtobufCMessage *message, struct service_fetch *fetch)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    struct service_answer *r = calloc(1, sizeof *r);
    struct frame_header header = {
        .kind = FRAME_RESPONSE,
        .call = request->call,
        .call_version = request->call_version,
        .status = (uint16_t)status,
        .correlation = request->correlation,
        .message_length = (uint32_t)size,
    };
    if (r == NULL) {
        return NULL;
    }
    r->iov = r->iov_inline;
    r->n_iov = 1;
    r->head = buf_new(NULL, FRAME_HEADER_SIZE + size);
    if (r->head == NULL || (fetch != NULL && add_payload(r, fetch) != 0)) {
        service_answer_release(r);
        return NULL;
    }
    header.payload_length = (uint32_t)r->bytes;
    frame_encode_header(&header, r->head->data);
    protobuf_c_message_pack(message, r->head->data + FRAME_HEADER_SIZE);
    r->iov[0].iov_base = r->head->data;
    r->iov[0].iov_len = FRAME_HEADER_SIZE + size;
    r->bytes += r->iov[0].iov_len;
    r->fetch = fetch;
    return r;
}

void native_answer(struct native_request *request, int status, const ProtobufCMessage *message,
                   struct service_fetch *fetch)
{
    struct native_session *session = request->session;
    struct service_answer *r;

    if (!session->closed && protobuf_c_message_get_packed_size(message) > FRAME_MESSAGE_MAX) {
        Cairn__Native__Failure failure = CAIRN__NATIVE__FAILURE__INIT;
        failure.text = (char *)(uintptr_t)"the answer is larger than a frame may be: ask for less";
        assert(message->descriptor != failure.base.descriptor);
        native_answer(request, ERR_TOO_BIG, &failure.base, NULL);
        if (fetch != NULL) {
            service_fetch_free(fetch);
        }
        return;
    }
    r = session->closed ? NULL : response_new(request, status, message, fetch);
    if (!session->closed) {
        session->send(session, r);
    }
    if (r == NULL && fetch != NULL) {
        service_fetch_free(fetch);
    }
    native_request_end(request);
}

void native_fail(struct native_request *request, int error, const char *text)
{
    struct native_session *session = request->session;
    Cairn__Native__Failure failure = CAIRN__NATIVE__FAILURE__INIT;
    uint32_t leader = control_leader_of(service_control(session->service), METADATA_GROUP, NULL);

    /* protobuf-c wants writable strings, and leaves them as they are */
    failure.text = (char *)(uintptr_t)(text == NULL || text[0] == '\0' ? err_text(error) : text);
    if (error == ERR_NOT_LEADER || error == ERR_LEADER_NOT_READY) {
        failure.leader_node = leader;
        failure.leader_address = (char *)(uintptr_t)service_address(session->service, &session->ctx, leader);
    }
    native_answer(request, error, &failure.base, NULL);
}

bool native_uuid(const ProtobufCBinaryData *bytes, struct uuid *out)
{
    if (bytes->len != sizeof out->bytes) {
        memset(out, 0, sizeof *out);
        return false;
    }
    memcpy(out->bytes, bytes->data, sizeof out->bytes);
    return true;
}

ProtobufCBinaryData native_uuid_bytes(struct uuid *id)
{
    return (ProtobufCBinaryData){.len = sizeof id->bytes, .data = id->bytes};
}
