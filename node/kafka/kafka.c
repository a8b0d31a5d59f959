/* Sessions: frames to requests, requests to handlers, in the order that Kafka's clients count on. */
#include "node/kafka/kafka.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/api_versions.h"

void kafka_session_init(struct kafka_session *session, struct service *service, const struct kafka_settings *settings,
                        const char *listener)
{
    memset(session, 0, sizeof *session);
    session->service = service;
    session->settings = settings;
    session->ctx.principal = "anonymous";
    session->ctx.listener = listener;
    session->ctx.client = session->client;
    list_init(&session->under_way);
    list_init(&session->fetches);
}

static const struct kafka_handler *find_handler(int16_t key)
{
    for (size_t i = 0; i < kafka_handlers_count; i++) {
        if (kafka_handlers[i].key == key) {
            return &kafka_handlers[i];
        }
    }
    return NULL;
}

/* ---- a request's life
 * -------------------------------------------------------------------------------------------------- */

static struct kafka_request *request_new(struct kafka_session *session, const struct kafka_header *header,
                                         const struct cursor *message, struct buf *buf)
{
    struct kafka_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->session = session;
    r->service = session->service;
    r->header = *header;
    r->version = header->version;
    r->message = *message;
    r->buf = buf_acquire(buf);
    r->handler = find_handler(header->key);
    kafka_arena_init(&r->arena, KAFKA_ARENA_SIZE_MAX);
    kafka_arena_init(&r->answer_arena, KAFKA_ANSWER_MAX_BYTES);
    list_push_back(&session->under_way, &r->link);
    session->requests++;
    session->produces += r->handler->effect == KAFKA_APPENDS;
    session->changes += r->handler->effect == KAFKA_CHANGES;
    return r;
}

/* Its work is over, whether or not its answer has left. */
static void request_release(struct kafka_request *r)
{
    if (r->cleanup != NULL) {
        r->cleanup(r);
        r->cleanup = NULL;
    }
    kafka_arena_close(&r->arena);
    kafka_arena_close(&r->answer_arena);
    buf_release(r->buf);
    r->buf = NULL;
    r->message.data = NULL;
}

static void request_free(struct kafka_request *r)
{
    list_remove(&r->link);
    request_release(r);
    if (r->answer != NULL) {
        service_answer_release(r->answer);
    }
    free(r);
}

/* Answers leave from the front of the line. */
static void send_answered(struct kafka_session *session)
{
    while (!list_empty(&session->under_way)) {
        struct kafka_request *r = list_entry(session->under_way.next, struct kafka_request, link);
        struct service_answer *answer = r->answer;
        if (!r->answered) {
            return;
        }
        r->answer = NULL;
        request_free(r);
        session->requests--;
        session->waiting_bytes -= answer == NULL ? 0 : answer->bytes;
        if (answer != NULL && !session->closed) {
            session->send(session, answer);
        } else if (answer != NULL) {
            service_answer_release(answer);
        }
    }
}

static void request_answered(struct kafka_request *r)
{
    struct kafka_session *session = r->session;

    assert(!r->answered);
    r->answered = true;
    session->produces -= r->handler->effect == KAFKA_APPENDS;
    session->changes -= r->handler->effect == KAFKA_CHANGES;
    request_release(r);
    send_answered(session);
    if (session->closed && session->requests == 0) {
        session->idle(session);
    } else if (!session->closed && session->is_held) {
        session->wake(session);
    }
}

/* ---- in
 * ---------------------------------------------------------------------------------------------------------------- */

static void set_client(struct kafka_session *session, const struct kafka_header *header)
{
    if (session->client[0] == '\0' && header->client_id.length > 0) {
        snprintf(session->client, sizeof session->client, "%.*s",
                 header->client_id.length > 60 ? 60 : header->client_id.length, header->client_id.data);
    }
}

/* What the client sees of its requests is as if they were carried out one by one, as a Kafka broker does. One that has
 * a lot of answers waiting behind a slow one is served no further until they have left. */
static bool must_wait(const struct kafka_session *session, enum kafka_effect effect)
{
    return session->waiting_bytes > KAFKA_OUT_MAX_BYTES || session->changes > 0 ||
           (session->produces > 0 && effect == KAFKA_CHANGES);
}

static int begin(struct kafka_session *session, const struct kafka_header *header, const struct cursor *message,
                 struct buf *buf, int (*handle)(struct kafka_request *r), char *errmsg)
{
    struct kafka_request *r = request_new(session, header, message, buf);
    int rv;

    if (r == NULL) {
        snprintf(errmsg, ERRMSG_SIZE, "out of memory for a request");
        return ERR_NOMEM;
    }
    rv = handle(r);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "%srequest %s version %d: %s", rv == ERR_MALFORMED ? "malformed " : "",
                 header->api->name, header->version, err_text(rv));
        session->produces -= r->handler->effect == KAFKA_APPENDS;
        session->changes -= r->handler->effect == KAFKA_CHANGES;
        session->requests--;
        request_free(r);
    }
    return rv;
}

static int begin_copied(struct kafka_session *session, const struct kafka_frame *frame,
                        int (*handle)(struct kafka_request *r), char *errmsg)
{
    struct buf *copy = buf_new(NULL, frame->size);
    struct kafka_header header;
    struct cursor c;
    int rv;

    if (copy == NULL) {
        snprintf(errmsg, ERRMSG_SIZE, "out of memory for a request");
        return ERR_NOMEM;
    }
    memcpy(copy->data, frame->data, frame->size);
    cursor_init(&c, copy->data, frame->size);
    rv = kafka_header_parse(&c, &header);
    assert(rv == 0); /* of the same bytes */
    rv = begin(session, &header, &c, copy, handle, errmsg);
    buf_release(copy);
    return rv;
}

/* Kafka's clients understand an answer to an unknown version of ApiVersions alone; to others a broker hangs up. */
static int refuse(struct kafka_session *session, int rv, const struct kafka_header *header,
                  const struct cursor *message, struct buf *buf, char *errmsg)
{
    if (rv == ERR_VERSION && header->key == KAFKA_API_API_VERSIONS) {
        return begin(session, header, message, buf, kafka_api_versions_unknown, errmsg);
    }
    if (rv == ERR_UNKNOWN_CALL) {
        snprintf(errmsg, ERRMSG_SIZE, "api key %d version %d is not served here", header->key, header->version);
    } else if (rv == ERR_VERSION) {
        snprintf(errmsg, ERRMSG_SIZE, "%s version %d is not served here: %d to %d are", header->api->name,
                 header->version, header->api->version_min, header->api->version_max);
    } else {
        snprintf(errmsg, ERRMSG_SIZE, "malformed request header");
    }
    return ERR_MALFORMED;
}

/* The frame's reference stays the caller's. ERR_BUSY: it has to wait. */
static int take(struct kafka_session *session, const struct kafka_frame *frame, char *errmsg)
{
    const struct kafka_handler *handler;
    struct kafka_header header;
    struct cursor c;
    int rv;

    cursor_init(&c, frame->data, frame->size);
    if (session->bare_tokens) {
        snprintf(errmsg, ERRMSG_SIZE, "a SASL token: no mechanism is enabled");
        return ERR_MALFORMED;
    }
    rv = kafka_header_parse(&c, &header);
    handler = rv == 0 ? find_handler(header.key) : NULL;
    if (rv == 0 && handler == NULL) {
        rv = ERR_UNKNOWN_CALL;
    }
    if (rv != 0) {
        return refuse(session, rv, &header, &c, frame->buf, errmsg);
    }
    set_client(session, &header);
    if (must_wait(session, handler->effect)) {
        return ERR_BUSY;
    }
    if (handler->effect == KAFKA_APPENDS || frame->size > KAFKA_COPY_MAX_BYTES) {
        return begin(session, &header, &c, frame->buf, handler->handle, errmsg);
    }
    return begin_copied(session, frame, handler->handle, errmsg);
}

int kafka_session_receive(struct kafka_session *session, struct kafka_frame *frame, char *errmsg)
{
    int rv;
    assert(!session->is_held);
    rv = take(session, frame, errmsg);
    if (rv == ERR_BUSY) {
        session->is_held = true;
        session->held = *frame;
        return 0;
    }
    buf_release(frame->buf);
    return rv;
}

int kafka_session_resume(struct kafka_session *session, char *errmsg)
{
    struct kafka_frame frame = session->held;
    int rv;
    if (!session->is_held) {
        return ERR_NOT_FOUND;
    }
    rv = take(session, &frame, errmsg);
    if (rv == ERR_BUSY) {
        return ERR_NOT_FOUND;
    }
    session->is_held = false;
    buf_release(frame.buf);
    return rv;
}

static void drop_held(struct kafka_session *session)
{
    if (session->is_held) {
        session->is_held = false;
        buf_release(session->held.buf);
    }
}

bool kafka_session_close(struct kafka_session *session)
{
    session->closed = true;
    drop_held(session);
    session->requests++; /* fetches may end inside the calls */
    list_for_each_safe (pos, &session->fetches) {
        service_fetch_cancel(list_entry(pos, struct service_fetch, link)); /* ends itself alone */
    }
    session->requests--;
    return session->requests == 0;
}

void kafka_session_abandon(struct kafka_session *session)
{
    struct list *pos;
    drop_held(session);
    while ((pos = list_pop_front(&session->fetches)) != NULL) {
        service_fetch_free(list_entry(pos, struct service_fetch, link));
    }
    while (!list_empty(&session->under_way)) {
        request_free(list_entry(session->under_way.next, struct kafka_request, link));
    }
}

/* ---- out
 * --------------------------------------------------------------------------------------------------------------- */

struct kafka_bytes kafka_records_of(const struct partition_fetch *op)
{
    return (struct kafka_bytes){(const uint8_t *)op, (int32_t)op->bytes};
}

/* Pieces of the head, and between them the batches that belong there. */
static int weave(struct service_answer *a, size_t head_bytes, const struct kafka_splices *splices)
{
    size_t position = 0;
    uint32_t n = 1 + splices->count;

    for (uint32_t i = 0; i < splices->count; i++) {
        const struct partition_fetch *op = (const void *)splices->items[i].bytes.data;
        n += splices->items[i].bytes.length > 0 ? op->n : 0;
    }
    a->iov = malloc(n * sizeof *a->iov);
    if (a->iov == NULL) {
        a->iov = a->iov_inline;
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i <= splices->count; i++) {
        size_t end = i < splices->count ? splices->items[i].position : head_bytes;
        if (end > position) {
            a->iov[a->n_iov++] = (struct iovec){a->head->data + position, end - position};
            position = end;
        }
        if (i < splices->count && splices->items[i].bytes.length > 0) {
            const struct partition_fetch *op = (const void *)splices->items[i].bytes.data;
            for (uint32_t k = 0; k < op->n; k++) {
                a->iov[a->n_iov++] = (struct iovec){(void *)(uintptr_t)op->entries[k]->data, op->entries[k]->length};
                a->bytes += op->entries[k]->length;
            }
        }
    }
    a->bytes += head_bytes;
    return 0;
}

/* Errors: ERR_NOMEM; ERR_VERSION and the like where this version cannot say the response: our bug, and it costs the
 * client its connection. */
static int encode(const struct kafka_request *r, int16_t version, const void *response, struct service_fetch *fetch,
                  struct service_answer **out)
{
    const struct kafka_message *message = r->header.api->response;
    size_t header_bytes = KAFKA_FRAME_PREFIX_SIZE + kafka_response_header_bytes(&r->header, version);
    struct kafka_splices splices = {.count_max = fetch == NULL ? 0 : fetch->n};
    size_t size = header_bytes + (fetch == NULL ? kafka_size(message, version, response)
                                                : kafka_size_spliced(message, version, response));
    struct service_answer *a = calloc(1, sizeof *a);
    struct writer w;
    int rv = ERR_NOMEM;

    if (fetch != NULL) {
        splices.items = malloc(fetch->n * sizeof *splices.items);
    }
    if (a == NULL || (fetch != NULL && splices.items == NULL)) {
        goto err;
    }
    a->iov = a->iov_inline;
    a->head = buf_new(NULL, size);
    if (a->head == NULL) {
        goto err;
    }
    writer_init(&w, a->head->data, size);
    writer_i32_be(&w, 0);
    kafka_response_header_write(&w, &r->header, version);
    rv = fetch == NULL ? kafka_encode(message, &w, version, response)
                       : kafka_encode_spliced(message, &w, version, response, &splices);
    if (rv == 0) {
        rv = weave(a, w.position, &splices);
    }
    if (rv != 0) {
        goto err;
    }
    writer_init(&w, a->head->data, KAFKA_FRAME_PREFIX_SIZE);
    writer_i32_be(&w, (int32_t)(a->bytes - KAFKA_FRAME_PREFIX_SIZE));
    free(splices.items);
    *out = a;
    return 0;
err:
    free(splices.items);
    if (a != NULL) {
        service_answer_release(a);
    }
    return rv;
}

static void answer(struct kafka_request *r, int16_t version, const void *response, struct service_fetch *fetch)
{
    struct kafka_session *session = r->session;
    int rv = 0;

    if (!session->closed) {
        rv = encode(r, version, response, fetch, &r->answer);
    }
    if (r->answer != NULL) {
        r->answer->fetch = fetch;
        session->waiting_bytes += r->answer->bytes;
    } else {
        if (fetch != NULL) {
            service_fetch_free(fetch);
        }
        if (!session->closed) {
            snprintf(session->end_reason, sizeof session->end_reason, "no answer to %s version %d: %s",
                     r->header.api->name, version, err_text(rv));
            session->send(session, NULL);
        }
    }
    request_answered(r);
}

void kafka_answer(struct kafka_request *r, const void *response)
{
    answer(r, r->version, response, NULL);
}

void kafka_answer_version(struct kafka_request *r, int16_t version, const void *response)
{
    answer(r, version, response, NULL);
}

void kafka_answer_fetch(struct kafka_request *r, const void *response, struct service_fetch *fetch)
{
    answer(r, r->version, response, fetch);
}

void kafka_answer_nothing(struct kafka_request *r)
{
    request_answered(r);
}

void kafka_hang_up(struct kafka_request *r, const char *why)
{
    if (!r->session->closed) {
        snprintf(r->session->end_reason, sizeof r->session->end_reason, "%s", why);
        r->session->send(r->session, NULL);
    }
    request_answered(r);
}

void kafka_drop(struct kafka_request *r)
{
    kafka_hang_up(r, "out of memory for an answer");
}
