#include "client/src/core/conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/native/native.pb-c.h"

#define CONN_PAYLOAD_MAX_DEFAULT FRAME_PAYLOAD_MAX

static const struct frame_limits conn_limits = {.message_max = FRAME_MESSAGE_MAX, .payload_max = FRAME_PAYLOAD_MAX};

int conn_open(struct core *core, const char *address, struct meta_node *node, enum meta_lane lane, struct conn **out)
{
    struct conn *conn = calloc(1, sizeof *conn);
    int rv;

    if (conn == NULL) {
        return ERR_NOMEM;
    }
    conn->core = core;
    conn->serial = ++core->conn_serial;
    conn->node = node;
    conn->lane = lane;
    conn->state = CONN_CONNECTING;
    snprintf(conn->address, sizeof conn->address, "%s", address);
    frame_reader_init(&conn->reader, core->pool, &conn_limits, 0);
    list_init(&conn->queued);
    list_init(&conn->sending);
    list_init(&conn->awaiting);
    conn->payload_max = CONN_PAYLOAD_MAX_DEFAULT;
    conn->received_ns = core->now_ns;
    conn->connect_deadline_ns = core->now_ns + core->config.connect_timeout_ms * NS_PER_MS;
    list_push_back(&core->conns, &conn->link);
    rv = core->io->connect(core->io, conn, address);
    if (rv != 0) {
        list_remove(&conn->link);
        frame_reader_close(&conn->reader);
        free(conn);
        return rv;
    }
    core_wake_at(core, conn->connect_deadline_ns);
    *out = conn;
    return 0;
}

struct request *request_new(uint16_t call, size_t message_size, uint32_t payload_count, size_t extra_size)
{
    size_t iov_bytes = payload_count * sizeof(struct iovec);
    size_t extra_bytes = (extra_size + 15) & ~(size_t)15;
    struct request *r;

    if (message_size > FRAME_MESSAGE_MAX) {
        return NULL;
    }
    r = malloc(sizeof *r + iov_bytes + extra_bytes + FRAME_HEADER_SIZE + message_size);
    if (r == NULL) {
        return NULL;
    }
    memset(r, 0, sizeof *r);
    list_init(&r->send_link);
    list_init(&r->await_link);
    r->call = call;
    r->payload = (struct iovec *)(void *)(r + 1);
    r->extra = (uint8_t *)r->payload + iov_bytes;
    memset(r->extra, 0, extra_bytes);
    r->head = (uint8_t *)r->extra + extra_bytes;
    r->head_size = FRAME_HEADER_SIZE + message_size;
    return r;
}

uint8_t *request_message(struct request *r)
{
    return r->head + FRAME_HEADER_SIZE;
}

void request_discard(struct request *r)
{
    if (r->release != NULL) {
        r->release(r);
    }
    free(r);
}

static void request_unref(struct request *r)
{
    if (!r->awaiting && !r->sending) {
        request_discard(r);
    }
}

void request_abandon(struct request *r)
{
    r->done = NULL;
}

void conn_request(struct conn *conn, struct request *r, uint64_t timeout_ns)
{
    struct frame_header h = {.kind = FRAME_REQUEST, .call = r->call, .call_version = 1};

    for (uint32_t i = 0; i < r->payload_count; i++) {
        r->payload_size += r->payload[i].iov_len;
    }
    r->conn = conn;
    r->correlation = conn->correlation_next++;
    h.correlation = r->correlation;
    h.message_length = (uint32_t)(r->head_size - FRAME_HEADER_SIZE);
    h.payload_length = (uint32_t)r->payload_size;
    frame_encode_header(&h, r->head);
    r->sent_ns = conn->core->now_ns;
    r->timeout_ns = timeout_ns;
    r->deadline_ns = conn->core->now_ns + timeout_ns;
    if (conn->awaiting_count == 0) {
        conn->received_ns = conn->core->now_ns; /* silence counts from here */
    }
    r->awaiting = true;
    r->sending = true;
    conn->awaiting_count++;
    list_push_back(&conn->queued, &r->send_link);
    list_push_back(&conn->awaiting, &r->await_link);
    core_wake_at(conn->core, conn->core->now_ns + CLIENT_TICK_MS * NS_PER_MS);
}

/* The answer is here, or will never come. */
static void request_answered(struct request *r, int status, const struct frame *frame)
{
    r->conn->awaiting_count--;
    list_remove(&r->await_link);
    if (r->done != NULL) {
        r->done(r, status, frame);
    }
    r->awaiting = false;
    request_unref(r);
}

static void request_sent(struct request *r)
{
    list_remove(&r->send_link);
    r->sending = false;
    request_unref(r);
}

void conn_drop(struct conn *conn, int err)
{
    if (!conn->down_wanted) {
        conn->down_wanted = true;
        conn->down_err = err;
    }
    core_wake_at(conn->core, 0);
}

static void hello_apply(struct conn *conn, const Cairn__Native__HelloResponse *m)
{
    static const uint8_t nil[sizeof conn->core->cluster_id];
    struct core *core = conn->core;
    struct meta_node *node;

    /* A node that belongs to no cluster yet says zeros. */
    if (m->cluster_id.len == sizeof nil && memcmp(m->cluster_id.data, nil, sizeof nil) != 0) {
        if (core->cluster_known && memcmp(core->cluster_id, m->cluster_id.data, sizeof core->cluster_id) != 0) {
            snprintf(core->trouble, sizeof core->trouble, "%.100s belongs to another cluster", conn->address);
            conn_drop(conn, ERR_CLUSTER_MISMATCH);
            return;
        }
        memcpy(core->cluster_id, m->cluster_id.data, sizeof core->cluster_id);
        core->cluster_known = true;
    }
    if (m->payload_max_bytes > 0 && m->payload_max_bytes < conn->payload_max) {
        conn->payload_max = m->payload_max_bytes;
    }
    conn->state = CONN_READY;
    core->meta.generation++; /* who waited for a way to a node looks again */
    core->trouble[0] = '\0';
    if (conn->node != NULL) {
        if (m->node != 0 && m->node != conn->node->id) { /* another node has this address now */
            conn_drop(conn, ERR_NODE_MISMATCH);
            meta_refresh(core);
            return;
        }
        conn->node->connect_failures[conn->lane] = 0;
        return;
    }
    core->bootstrap_failures = 0;
    node = m->node != 0 ? meta_node_get(core, m->node, conn->address) : NULL;
    if (node != NULL && node->lanes[LANE_MAIN] == NULL) {
        conn->node = node;
        node->lanes[LANE_MAIN] = conn;
    }
}

static void hello_done(struct request *r, int status, const struct frame *frame)
{
    struct conn *conn = r->conn;
    Cairn__Native__HelloResponse *m;

    if (frame == NULL) {
        return;
    }
    if (status != 0) {
        snprintf(conn->core->trouble, sizeof conn->core->trouble, "%.100s refused the greeting: %s", conn->address,
                 err_text(status));
        conn_drop(conn, status);
        return;
    }
    m = cairn__native__hello_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        conn_drop(conn, ERR_MALFORMED);
        return;
    }
    hello_apply(conn, m);
    cairn__native__hello_response__free_unpacked(m, NULL);
}

void core_conn_up(struct conn *conn, uint64_t now_ns)
{
    Cairn__Native__HelloRequest m = CAIRN__NATIVE__HELLO_REQUEST__INIT;
    struct core *core = conn->core;
    struct request *r;

    core->now_ns = now_ns;
    if (conn->state != CONN_CONNECTING) {
        return;
    }
    m.client_software = (char *)(uintptr_t) "libcairn";
    m.client_version = (char *)(uintptr_t)CAIRN_VERSION;
    m.client_id = core->client_id;
    r = request_new(CALL_HELLO, cairn__native__hello_request__get_packed_size(&m), 0, 0);
    if (r == NULL) {
        conn_drop(conn, ERR_NOMEM);
        return;
    }
    cairn__native__hello_request__pack(&m, request_message(r));
    r->done = hello_done;
    conn->state = CONN_GREETING;
    conn_request(conn, r, core->config.connect_timeout_ms * NS_PER_MS);
}

int core_conn_read_alloc(struct conn *conn, uint8_t **base, size_t *length)
{
    return frame_reader_alloc(&conn->reader, base, length);
}

static void conn_answer(struct conn *conn, const struct frame *frame)
{
    struct request *r = NULL;

    if (frame->header.kind != FRAME_RESPONSE) {
        conn_drop(conn, ERR_MALFORMED);
        return;
    }
    list_for_each (pos, &conn->awaiting) {
        struct request *candidate = list_entry(pos, struct request, await_link);
        if (candidate->correlation == frame->header.correlation) {
            r = candidate;
            break;
        }
    }
    if (r == NULL || r->call != frame->header.call) {
        conn_drop(conn, ERR_MALFORMED);
        return;
    }
    conn->suspect = false;
    request_answered(r, frame->header.status, frame);
}

/* An answer may take a slow way longer than any timeout, and the others wait behind it: asked for again it would take
 * as long again, for ever. While its bytes come, all have their whole time from the last of them. */
static void conn_extend(struct conn *conn)
{
    list_for_each (pos, &conn->awaiting) {
        struct request *r = list_entry(pos, struct request, await_link);
        r->deadline_ns = conn->core->now_ns + r->timeout_ns;
    }
}

void core_conn_read_commit(struct conn *conn, size_t n, uint64_t now_ns)
{
    struct frame frame;

    conn->core->now_ns = now_ns;
    frame_reader_commit(&conn->reader, n);
    conn->received_ns = now_ns;
    while (conn->state != CONN_CLOSING && !conn->down_wanted && frame_reader_next(&conn->reader, &frame)) {
        conn_answer(conn, &frame);
        buf_release(frame.buf);
    }
    if (frame_reader_error(&conn->reader) != 0) {
        conn_drop(conn, frame_reader_error(&conn->reader));
    } else if (frame_reader_partial(&conn->reader)) {
        conn_extend(conn);
    }
}

void core_conn_sent(struct conn *conn)
{
    bool last = false;

    while (!last && !list_empty(&conn->sending)) {
        struct request *r = list_entry(conn->sending.next, struct request, send_link);
        last = r->last_of_send;
        request_sent(r);
    }
}

void conn_detach(struct conn *conn, int err, const char *text)
{
    struct core *core = conn->core;
    struct meta_node *node = conn->node;
    bool was_ready = conn->state == CONN_READY;

    if (conn->state == CONN_CLOSING) {
        return;
    }
    conn->state = CONN_CLOSING;
    if (was_ready) {
        meta_refresh(core);
    }
    if (err != 0 && core->trouble[0] == '\0') {
        snprintf(core->trouble, sizeof core->trouble, "%.100s: %.120s", conn->address,
                 text != NULL ? text : err_text(err));
    }
    if (node != NULL) {
        unsigned n = was_ready ? 0 : node->connect_failures[conn->lane]++;
        if (node->lanes[conn->lane] == conn) {
            node->lanes[conn->lane] = NULL;
        }
        node->connect_after_ns[conn->lane] =
            core->now_ns + core_backoff_ns(core, n, CONN_RETRY_MIN_MS, CONN_RETRY_MAX_MS);
    } else if (!was_ready) {
        unsigned rounds = ++core->bootstrap_failures / core->config.bootstrap_count;
        core->bootstrap_after_ns = core->now_ns + core_backoff_ns(core, rounds, CONN_RETRY_MIN_MS, CONN_RETRY_MAX_MS);
    }
}

void core_conn_down(struct conn *conn, uint64_t now_ns, int err, const char *text)
{
    struct core *core = conn->core;

    core->now_ns = now_ns;
    if (conn->down_err != 0) { /* we closed it: the driver's reason is only that */
        err = conn->down_err;
        text = NULL;
    }
    conn_detach(conn, err, text);
    while (!list_empty(&conn->awaiting)) {
        request_answered(list_entry(conn->awaiting.next, struct request, await_link), err != 0 ? err : ERR_CLOSED,
                         NULL);
    }
    while (!list_empty(&conn->queued)) {
        request_sent(list_entry(conn->queued.next, struct request, send_link));
    }
    while (!list_empty(&conn->sending)) {
        request_sent(list_entry(conn->sending.next, struct request, send_link));
    }
    list_remove(&conn->link);
    frame_reader_close(&conn->reader);
    free(conn);
    core_wake_at(core, 0);
}

void *core_conn_driver(const struct conn *conn)
{
    return conn->driver;
}

void core_conn_set_driver(struct conn *conn, void *driver)
{
    conn->driver = driver;
}
