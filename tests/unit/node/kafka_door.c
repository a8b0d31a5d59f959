#include "tests/unit/node/kafka_door.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/kafka/kafka_header.h"

#define CLIENT_ID "tester"
#define SEND_LIMIT_MS 2400000 /* what stands before it may wait for others, for a session at most */

static void on_send(struct kafka_session *session, struct service_answer *a)
{
    struct kafka_door *k = container_of(session, struct kafka_door, session);
    if (a == NULL) {
        k->ended = true;
        return;
    }
    list_push_back(&k->answers, &a->link);
}

static void on_wake(struct kafka_session *session)
{
    container_of(session, struct kafka_door, session)->wake = true;
}

static void on_idle(struct kafka_session *session)
{
    container_of(session, struct kafka_door, session)->idle = true;
}

void kafka_door_open(struct kafka_door *k, struct door *d, unsigned at)
{
    memset(k, 0, sizeof *k);
    k->door = d;
    k->at = at;
    k->settings = (struct kafka_settings){.default_partitions = 1, .default_replication = d->n, .connections_max = 10};
    kafka_session_init(&k->session, node_service(d->nodes[at - 1].node), &k->settings, "client");
    k->session.peer = "10.1.2.3:4567";
    k->session.send = on_send;
    k->session.wake = on_wake;
    k->session.idle = on_idle;
    list_init(&k->answers);
    kafka_arena_init(&k->arena, 64u << 20);
}

static void hang_up(struct env *env, void *data)
{
    struct kafka_door *k = data;
    k->idle = kafka_session_close(&k->session);
}

void kafka_door_hang_up(struct kafka_door *k)
{
    if (!k->session.closed) {
        (void)sim_node_call(k->door->nodes[k->at - 1].machine, hang_up, k);
    }
}

static bool is_idle(void *data)
{
    return ((struct kafka_door *)data)->idle;
}

void kafka_door_close(struct kafka_door *k)
{
    struct list *pos;
    kafka_door_hang_up(k);
    if (!door_until(k->door, is_idle, k, SEND_LIMIT_MS)) {
        abort();
    }
    while ((pos = list_pop_front(&k->answers)) != NULL) {
        service_answer_release(list_entry(pos, struct service_answer, link));
    }
    kafka_arena_close(&k->arena);
    free(k->last);
}

/* ---- out ----------------------------------------------------------------------------------------------------- */

struct delivery {
    struct kafka_door *k;
    struct kafka_frame frame;
};

static void deliver(struct env *env, void *data)
{
    struct delivery *d = data;
    if (kafka_session_receive(&d->k->session, &d->frame, d->k->errmsg) != 0) {
        d->k->ended = true;
    }
}

static void resume(struct env *env, void *data)
{
    struct kafka_door *k = data;
    int rv = kafka_session_resume(&k->session, k->errmsg);
    k->wake = false;
    if (rv != 0 && rv != ERR_NOT_FOUND) {
        k->ended = true;
    }
}

/* With room for @size bytes of a message, for which the writer stands at the right place. */
static struct buf *begin(struct kafka_door *k, int16_t key, int16_t version, size_t size, struct writer *w)
{
    const struct kafka_api *api = kafka_api_find(key);
    struct buf *buf = buf_new(NULL, 64 + size);
    assert(buf != NULL);
    writer_init(w, buf->data, 64 + size);
    writer_i16_be(w, key);
    writer_i16_be(w, version);
    writer_i32_be(w, ++k->correlation);
    writer_i16_be(w, (int16_t)strlen(CLIENT_ID));
    writer_bytes(w, CLIENT_ID, strlen(CLIENT_ID));
    if (api != NULL && kafka_api_request_header(api, version) == 2) {
        writer_u8(w, 0); /* no tagged fields */
    }
    return buf;
}

static void deliver_frame(struct kafka_door *k, struct buf *buf, size_t size)
{
    struct delivery d = {.k = k, .frame = {.data = buf->data, .size = (uint32_t)size, .buf = buf}};
    (void)sim_node_call(k->door->nodes[k->at - 1].machine, deliver, &d);
}

void kafka_door_send(struct kafka_door *k, int16_t key, int16_t version, const void *request)
{
    const struct kafka_message *message = kafka_api_find(key)->request;
    struct writer w;
    struct buf *buf = begin(k, key, version, kafka_size(message, version, request), &w);
    int rv = kafka_encode(message, &w, version, request);
    assert(rv == 0);
    (void)rv;
    deliver_frame(k, buf, w.position);
}

/* The session holds back a request that has to wait, and takes none meanwhile. */
static bool may_send(void *data)
{
    struct kafka_door *k = data;
    return k->ended || k->wake || !k->session.is_held;
}

static bool until_taken(struct kafka_door *k, bool (*holds)(void *data), uint64_t limit_ms)
{
    for (;;) {
        if (!door_until(k->door, holds, k, limit_ms)) {
            return false;
        }
        if (!k->wake || k->ended) {
            return true;
        }
        (void)sim_node_call(k->door->nodes[k->at - 1].machine, resume, k);
    }
}

void kafka_door_send_bytes(struct kafka_door *k, int16_t key, int16_t version, const void *message, size_t size)
{
    struct writer w;
    struct buf *buf = begin(k, key, version, size, &w);
    writer_bytes(&w, message, size);
    if (!until_taken(k, may_send, SEND_LIMIT_MS)) {
        abort();
    }
    if (k->ended) {
        buf_release(buf);
        return;
    }
    deliver_frame(k, buf, w.position);
}

static bool is_settled(void *data)
{
    struct kafka_door *k = data;
    return k->ended || k->wake || (k->session.requests == 0 && !k->session.is_held);
}

bool kafka_door_settle(struct kafka_door *k, uint64_t limit_ms)
{
    struct list *pos;
    bool settled = until_taken(k, is_settled, limit_ms);
    while ((pos = list_pop_front(&k->answers)) != NULL) {
        service_answer_release(list_entry(pos, struct service_answer, link));
    }
    return settled;
}

/* ---- in ------------------------------------------------------------------------------------------------------ */

static bool has_answer(void *data)
{
    struct kafka_door *k = data;
    return k->ended || k->wake || !list_empty(&k->answers);
}

static uint8_t *gather(const struct service_answer *a)
{
    uint8_t *bytes = malloc(a->bytes);
    size_t at = 0;
    assert(bytes != NULL);
    for (uint32_t i = 0; i < a->n_iov; i++) {
        memcpy(bytes + at, a->iov[i].iov_base, a->iov[i].iov_len);
        at += a->iov[i].iov_len;
    }
    assert(at == a->bytes);
    return bytes;
}

bool kafka_door_wait(struct kafka_door *k, int16_t key, int16_t version, void *response, uint64_t limit_ms)
{
    const struct kafka_api *api = kafka_api_find(key);
    struct service_answer *a;
    struct cursor c;
    size_t size;

    while (list_empty(&k->answers)) {
        if (!door_until(k->door, has_answer, k, limit_ms) || k->ended) {
            return false;
        }
        if (k->wake) {
            (void)sim_node_call(k->door->nodes[k->at - 1].machine, resume, k);
        }
    }
    a = list_entry(list_pop_front(&k->answers), struct service_answer, link);
    free(k->last);
    k->last = gather(a);
    size = a->bytes;
    service_answer_release(a);
    cursor_init(&c, k->last, size);
    if ((size_t)cursor_i32_be(&c) != size - KAFKA_FRAME_PREFIX_SIZE) {
        abort();
    }
    (void)cursor_i32_be(&c); /* correlation: answers come in order, and all are waited for in order */
    if (kafka_api_response_header(api, version) == 1 && cursor_u8(&c) != 0) {
        abort();
    }
    kafka_arena_reset(&k->arena);
    if (kafka_decode(api->response, &c, version, &k->arena, response) != 0 || cursor_left(&c) != 0) {
        abort();
    }
    return true;
}

void kafka_door_ask(struct kafka_door *k, int16_t key, int16_t version, const void *request, void *response)
{
    kafka_door_send(k, key, version, request);
    if (!kafka_door_wait(k, key, version, response, 40000)) {
        fprintf(stderr, "no answer to %s version %d: %s\n", kafka_api_find(key)->name, version, k->errmsg);
        abort();
    }
}
