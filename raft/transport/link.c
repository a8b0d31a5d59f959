/* One TCP connection of either direction: reading frames, writing batches, time limits, its end. */
#include "raft/transport/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HELLO_BUFFER_SIZE FRAME_READ_BUFFER_SIZE_MIN

static void on_alloc(struct env_conn *conn, void *data, uint8_t **base, size_t *len);
static void on_read(struct env_conn *conn, void *data, ssize_t n);

static const struct env_conn_callbacks link_callbacks = {.alloc = on_alloc, .read = on_read};

struct link *link_new(struct transport *t, struct env_conn *conn, bool outgoing, uint8_t lane, struct peer *peer)
{
    static const struct frame_limits limits = {.message_max = HELLO_MESSAGE_MAX, .payload_max = 0};
    struct link *link = calloc(1, sizeof(*link));

    if (link == NULL) {
        return NULL;
    }
    if (outgoing) {
        link->iov_max = lane == TRANSPORT_DATA ? ENV_IOV_MAX : URGENT_IOV_MAX;
        link->iov = malloc(link->iov_max * sizeof(*link->iov));
        if (link->iov == NULL) {
            free(link);
            return NULL;
        }
    }
    link->t = t;
    link->conn = conn;
    link->outgoing = outgoing;
    link->lane = lane;
    link->peer = peer;
    link->node = peer != NULL ? peer->node : 0;
    link->state = LINK_HELLO;
    link->opened_ms = env_now_ms(t->env);
    link->heard_ms = link->opened_ms;
    link->said_cluster = t->self.cluster_id;
    outbox_init(&link->outbox, lane == TRANSPORT_DATA ? TRANSPORT_QUEUE_MAX_BYTES : TRANSPORT_URGENT_MAX_BYTES,
                TRANSPORT_FRAME_MAX_BYTES);
    frame_reader_init(&link->reader, t->pool, &limits, HELLO_BUFFER_SIZE);
    list_init(&link->flush_link);
    list_push_back(&t->links, &link->link);
    env_conn_read_start(t->env, conn, &link_callbacks, link);
    return link;
}

void link_free(struct link *link)
{
    list_remove(&link->link);
    list_remove(&link->flush_link);
    frame_reader_close(&link->reader);
    outbox_close(&link->outbox);
    free(link->iov);
    free(link);
}

static void on_closed(void *data)
{
    struct link *link = data;
    struct transport *t = link->t;

    link_free(link);
    transport_link_gone(t);
}

static void log_end(struct link *link, const char *reason, int err)
{
    struct transport *t = link->t;
    bool garbage = err == ERR_MALFORMED || err == ERR_CORRUPT || err == ERR_VERSION || err == ERR_TOO_BIG;
    char quoted[ERRMSG_SIZE];

    if (garbage) {
        t->stats.malformed++;
    }
    if (garbage || link->state == LINK_UP) {
        if (!garbage || refusal_fresh(t, link->node, err)) {
            log_event(t->env->logger, garbage ? LOG_WARN : LOG_INFO, "peer_link_closed",
                      "node=%u direction=%s lane=%s peer=%s error=%s reason=%s", link->node,
                      link->outgoing ? "out" : "in", link->lane == TRANSPORT_DATA ? "data" : "urgent",
                      env_conn_peer(t->env, link->conn), err_name(err), log_quote(quoted, sizeof(quoted), reason));
        }
    }
}

void link_close(struct link *link, const char *reason, int err)
{
    struct transport *t = link->t;
    struct peer *peer = link->peer;

    if (link->state == LINK_CLOSING) {
        return;
    }
    if (!t->closing) {
        log_end(link, reason, err);
    }
    if (!link->outgoing && link->state != LINK_UP && link->node == 0) {
        assert(t->strangers > 0);
        t->strangers--;
    }
    link->state = LINK_CLOSING;
    link->peer = NULL;
    list_remove(&link->flush_link);
    env_conn_close(t->env, link->conn, on_closed, link);
    if (peer == NULL) {
        return;
    }
    if (!link->outgoing) {
        if (peer->in[link->lane] == link) {
            peer->in[link->lane] = NULL;
        }
        return;
    }
    assert(peer->out[link->lane] == link);
    peer->out[link->lane] = NULL;
    /* The data lane is dialled behind the urgent one, and falls with it. */
    if (link->lane == TRANSPORT_URGENT && peer->out[TRANSPORT_DATA] != NULL) {
        link_close(peer->out[TRANSPORT_DATA], reason, ERR_CLOSED);
    }
    if (peer->dialled && (link->lane == TRANSPORT_URGENT || peer->out[TRANSPORT_URGENT] != NULL)) {
        dial_later(&peer->dials[link->lane]);
    }
    peer_changed(peer);
}

/* ---- reading ---- */

/* Too much of what was received is still held by groups. Only entries wait for that: what is urgent never does. */
static bool link_has_room(struct link *link)
{
    struct transport *t = link->t;

    if (link->outgoing || link->lane != TRANSPORT_DATA || link->state != LINK_UP || link->trickle) {
        return true;
    }
    return buf_pool_bytes_out(t->pool) <= t->receive_max_bytes;
}

static void link_pause(struct link *link)
{
    struct transport *t = link->t;

    link->paused = true;
    if (t->paused_at_ms == 0) {
        t->paused_at_ms = env_now_ms(t->env);
    }
    if (!timer_active(&t->pause)) {
        env_timer_start(t->env, &t->pause, PAUSE_CHECK_MS);
    }
}

void link_resume(struct link *link)
{
    link->paused = false;
    env_conn_read_start(link->t->env, link->conn, &link_callbacks, link);
}

static void on_alloc(struct env_conn *conn, void *data, uint8_t **base, size_t *len)
{
    struct link *link = data;

    (void)conn;
    if (!link_has_room(link) || frame_reader_alloc(&link->reader, base, len) != 0) {
        *len = 0;
        link_pause(link);
    }
}

/* An empty RAFT frame with a correlation asks whether we still read. */
static void answer_ping(struct link *link, const struct frame *frame)
{
    struct frame_header h = {.kind = FRAME_RESPONSE,
                             .call = CALL_PEER_RAFT,
                             .call_version = 1,
                             .correlation = frame->header.correlation};

    link_say(link, &h, NULL);
}

static int deliver_raft(struct link *link, const struct frame *frame)
{
    struct transport *t = link->t;
    struct peer_message m;
    struct cursor c;
    int rv;

    cursor_init(&c, frame->payload, frame->header.payload_length);
    while (cursor_left(&c) > 0 && link->state == LINK_UP) {
        rv = peer_frame_next(&c, frame->buf, &m, t->entries);
        if (rv != 0) {
            return rv;
        }
        t->stats.messages_in++;
        t->ops->message(t->data, link->node, m.group, m.header, m.size, t->entries, m.n);
        for (uint32_t i = 0; i < m.n; i++) {
            entry_release(t->entries[i]);
        }
    }
    return 0;
}

static void deliver(struct link *link, const struct frame *frame)
{
    const struct frame_header *h = &frame->header;
    struct transport *t = link->t;
    int rv = call_check(h->call, h->call_version);

    t->stats.frames_in++;
    if (rv == 0 && (h->kind != FRAME_REQUEST || !call_is_peer(h->call) || h->call == CALL_PEER_HELLO)) {
        rv = ERR_MALFORMED;
    }
    if (rv != 0) {
        link_close(link, "a call that has no place here", rv == ERR_UNKNOWN_CALL ? ERR_MALFORMED : rv);
        return;
    }
    if (h->call != CALL_PEER_RAFT) {
        if (h->payload_length > 0) {
            link_close(link, "a control message with a payload", ERR_MALFORMED);
            return;
        }
        t->ops->control(t->data, link->node, h->call, frame->message, h->message_length);
        return;
    }
    if (h->correlation != 0) {
        answer_ping(link, frame);
    }
    rv = deliver_raft(link, frame);
    if (rv != 0) {
        link_close(link, "a frame of Raft messages that cannot be read", rv);
    }
}

/* On an outgoing link only pongs, and a refusal that comes late. */
static void hear_answer(struct link *link, const struct frame *frame)
{
    const struct frame_header *h = &frame->header;

    if (h->kind == FRAME_RESPONSE && h->call == CALL_PEER_RAFT && h->message_length == 0) {
        link->pongs = h->correlation;
        return;
    }
    if (h->kind == FRAME_RESPONSE && h->call == CALL_PEER_HELLO) {
        handshake_frame(link, frame);
        return;
    }
    link_close(link, "an answer that was not asked for", ERR_MALFORMED);
}

static void take_frame(struct link *link, const struct frame *frame)
{
    if (link->state == LINK_HELLO) {
        handshake_frame(link, frame);
    } else if (link->outgoing) {
        hear_answer(link, frame);
    } else if (frame->header.kind == FRAME_RESPONSE && frame->header.call == CALL_PEER_HELLO) {
        handshake_frame(link, frame); /* the dialler refuses our hello */
    } else {
        deliver(link, frame);
    }
}

static void on_read(struct env_conn *conn, void *data, ssize_t n)
{
    struct link *link = data;
    struct transport *t = link->t;
    struct frame frame;

    (void)conn;
    if (link->state == LINK_CLOSING) {
        return;
    }
    if (n <= 0) {
        bool cut = frame_reader_partial(&link->reader);
        link_close(link, n < 0 ? "the connection broke" : cut ? "closed in the middle of a frame" : "closed by the peer",
                   n < 0 ? (int)-n : ERR_CLOSED);
        return;
    }
    link->trickle = false;
    link->heard_ms = env_now_ms(t->env);
    link->heard_since_tick = true;
    if (link->peer != NULL) {
        link->peer->heard_ms = link->heard_ms;
    }
    t->stats.bytes_in += (uint64_t)n;
    frame_reader_commit(&link->reader, (size_t)n);
    while ((link->state == LINK_HELLO || link->state == LINK_UP) && frame_reader_next(&link->reader, &frame)) {
        take_frame(link, &frame);
        buf_release(frame.buf);
    }
    if (link->state != LINK_CLOSING && frame_reader_error(&link->reader) != 0) {
        link_close(link, "not a frame of ours", frame_reader_error(&link->reader));
    }
}

/* ---- writing ---- */

static void on_said(struct env_write *write, int status)
{
    struct link *link = container_of(write, struct link, say);

    link->say_busy = false;
    if (link->state == LINK_REFUSED) {
        link_close(link, "refused", ERR_REFUSED);
    } else if (status != 0) {
        link_close(link, "cannot write", status);
    }
}

void link_say(struct link *link, const struct frame_header *h, const uint8_t *message)
{
    struct frame_header header = *h;
    struct iovec iov;

    assert(header.message_length <= HELLO_MESSAGE_MAX && header.payload_length == 0);
    if (link->say_busy || link->state == LINK_CLOSING) {
        return;
    }
    frame_encode_header(&header, link->say_bytes);
    if (header.message_length > 0) {
        memcpy(link->say_bytes + FRAME_HEADER_SIZE, message, header.message_length);
    }
    iov.iov_base = link->say_bytes;
    iov.iov_len = FRAME_HEADER_SIZE + header.message_length;
    link->say_busy = true;
    link->say.done = on_said;
    link->t->stats.bytes_out += iov.iov_len;
    env_conn_write(link->t->env, link->conn, &link->say, &iov, 1);
}

static void on_written(struct env_write *write, int status);

/* Raft sends again what is not acknowledged in time. On a slow way the first copy is still in this queue then, and copies of
 * copies would fill all of it: at 1 MB/s that is a minute in which a follower gets nothing new, and every group of the
 * node waits in the same line. So a data lane whose batch does not get away lets only a little wait behind it; what is
 * refused Raft repeats when there is room. */
static void link_pace(struct link *link, uint64_t now_ms, bool written)
{
    struct outbox *o = &link->outbox;

    if (link->lane != TRANSPORT_DATA) {
        return;
    }
    if (now_ms - link->flying_ms >= CONGESTED_MS) {
        o->limit_bytes = CONGESTED_BYTES;
    } else if (written && o->limit_bytes < TRANSPORT_QUEUE_MAX_BYTES) {
        o->limit_bytes = 2 * o->limit_bytes < TRANSPORT_QUEUE_MAX_BYTES ? 2 * o->limit_bytes : TRANSPORT_QUEUE_MAX_BYTES;
    }
}

void link_flush(struct link *link)
{
    struct transport *t = link->t;
    bool fresh = link->outbox.flying == NULL;
    size_t n = outbox_take(&link->outbox, link->iov, link->iov_max);

    if (n == 0) {
        return;
    }
    if (fresh) {
        link->flying_ms = env_now_ms(t->env);
        t->stats.frames_out += link->outbox.flying->frames;
        t->stats.messages_out += link->outbox.flying->messages;
        t->stats.bytes_out += link->outbox.flying->bytes;
    }
    link->write.done = on_written;
    env_conn_write(t->env, link->conn, &link->write, link->iov, n);
}

static void on_written(struct env_write *write, int status)
{
    struct link *link = container_of(write, struct link, write);

    if (link->state == LINK_CLOSING) {
        return;
    }
    if (status != 0) {
        link_close(link, "cannot write", status);
        return;
    }
    if (!outbox_written(&link->outbox)) {
        link_flush(link); /* a batch of more pieces than one call takes */
        return;
    }
    link_pace(link, env_now_ms(link->t->env), true);
    if (outbox_ready(&link->outbox) && list_empty(&link->flush_link)) {
        list_push_back(&link->t->flush, &link->flush_link);
        env_wake(link->t->env);
    }
}

/* ---- time limits ---- */

static void link_ping(struct link *link, uint64_t now_ms)
{
    if (now_ms - link->ping_ms < PING_MS) {
        return;
    }
    link->ping_ms = now_ms;
    if (outbox_frame(&link->outbox, FRAME_REQUEST, CALL_PEER_RAFT, link->pings + 1, NULL, 0) != 0) {
        return; /* full: it is alive by what it writes, or the answer to the last one is missing */
    }
    link->pings++;
    if (list_empty(&link->flush_link)) {
        list_push_back(&link->t->flush, &link->flush_link);
        env_wake(link->t->env);
    }
}

void link_tick(struct link *link, uint64_t now_ms)
{
    if (link->state == LINK_CLOSING) {
        return;
    }
    if (link->state != LINK_UP) {
        if (now_ms - link->opened_ms > TRANSPORT_HELLO_TIMEOUT_MS) {
            link_close(link, "no hello in time", ERR_TIMEOUT);
        }
        return;
    }
    if (!link->heard_since_tick) {
        frame_reader_trim(&link->reader);
    }
    link->heard_since_tick = false;
    if (!link->outgoing) {
        if (!link->paused && now_ms - link->heard_ms > SILENT_MAX_MS) {
            link_close(link, "silent for too long", ERR_TIMEOUT);
        }
        return;
    }
    /* A data lane may wait for the peer's memory as long as it likes: the urgent one tells whether the peer lives. */
    if (link->lane == TRANSPORT_URGENT && link->pings != link->pongs && now_ms - link->heard_ms > PONG_MAX_MS) {
        link_close(link, "no answer to pings: half-open", ERR_TIMEOUT);
        return;
    }
    if (link->outbox.flying != NULL) {
        link_pace(link, now_ms, false);
    }
    link_ping(link, now_ms);
}
