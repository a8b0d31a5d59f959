/* Hellos and refusals, on both ends of a link. */
#include "raft/transport/internal.h"

#include <assert.h>
#include <string.h>

static void refuse(struct link *link, uint32_t node, int err, const char *text)
{
    struct frame_header h = {.kind = FRAME_RESPONSE, .call = CALL_PEER_HELLO, .call_version = 1};
    struct transport *t = link->t;
    uint8_t message[HELLO_MESSAGE_MAX];
    char quoted[2 * ERRMSG_SIZE];
    size_t length = 0;

    t->stats.refused++;
    if (refusal_fresh(t, node, err)) {
        log_event(t->env->logger, LOG_WARN, "peer_refused", "node=%u direction=%s peer=%s error=%s text=%s", node,
                  link->outgoing ? "out" : "in", env_conn_peer(t->env, link->conn), err_name(err),
                  log_quote(quoted, sizeof(quoted), text));
    }
    if (refusal_encode(err, text, message, sizeof(message), &length) != 0) {
        link_close(link, "refused", ERR_REFUSED);
        return;
    }
    h.status = (uint16_t)err;
    h.message_length = (uint32_t)length;
    link->state = LINK_REFUSED;
    if (link->say_busy) { /* our hello has not even left: it will notice by the end of the connection */
        return;
    }
    link_say(link, &h, message);
}

/* The peer will not have us. Its reason is for people: once in the log, and the next try comes late. */
static void refused(struct link *link, const struct frame *frame)
{
    struct transport *t = link->t;
    char text[ERRMSG_SIZE];
    char quoted[2 * ERRMSG_SIZE];
    int err;

    if (refusal_decode(frame->message, frame->header.message_length, &err, text) != 0) {
        link_close(link, "a refusal that cannot be read", ERR_MALFORMED);
        return;
    }
    if (refusal_fresh(t, link->node, err)) {
        log_event(t->env->logger, LOG_WARN, "peer_refuses_us", "node=%u peer=%s error=%s text=%s", link->node,
                  env_conn_peer(t->env, link->conn), err_name(err), log_quote(quoted, sizeof(quoted), text));
    }
    if (link->outgoing && link->peer != NULL) {
        link->peer->dials[link->lane].failures += 8; /* straight to the longest back-off */
        if (t->ops->refused != NULL) {
            t->ops->refused(t->data, link->node, err, text);
        }
    }
    link_close(link, "refused by the peer", ERR_REFUSED);
}

static void say_hello(struct link *link, uint8_t kind, uint32_t to_node)
{
    struct frame_header h = {.kind = kind, .call = CALL_PEER_HELLO, .call_version = 1};
    struct transport *t = link->t;
    struct hello hello = {.protocol_min = TRANSPORT_PROTOCOL_VERSION,
                          .protocol_max = TRANSPORT_PROTOCOL_VERSION,
                          .to_node = to_node,
                          .lane = link->lane,
                          .id = t->self};
    uint8_t message[HELLO_MESSAGE_MAX];
    size_t length = 0;
    int rv = hello_encode(&hello, message, sizeof(message), &length);

    assert(rv == 0); /* all its parts are bounded */
    (void)rv;
    h.message_length = (uint32_t)length;
    link->said_cluster = t->self.cluster_id;
    link_say(link, &h, message);
}

void handshake_start(struct link *link)
{
    say_hello(link, FRAME_REQUEST, link->node);
}

/* Everything that must hold before a word of this peer counts. */
static int judge(struct link *link, const struct hello *hello, char *text)
{
    struct transport *t = link->t;
    int rv = hello_check(hello, &t->self, link->outgoing ? link->node : 0, &t->boots, text);

    if (rv != 0) {
        return rv;
    }
    text[0] = '\0';
    rv = t->ops->admit(t->data, &hello->id, text);
    if (rv != 0) {
        return rv;
    }
    hello_boots_note(&t->boots, &hello->id.disk_id, hello->id.boot);
    return 0;
}

static void up(struct link *link)
{
    struct frame_limits limits = {.message_max = HELLO_MESSAGE_MAX, .payload_max = 0};
    struct transport *t = link->t;

    if (!link->outgoing) {
        limits.message_max = FRAME_MESSAGE_MAX;
        limits.payload_max = link->lane == TRANSPORT_DATA ? FRAME_PAYLOAD_MAX : TRANSPORT_FRAME_MAX_BYTES;
        link->reader.buffer_size =
            link->lane == TRANSPORT_DATA ? FRAME_READ_BUFFER_SIZE : FRAME_READ_BUFFER_SIZE / 2;
    }
    link->reader.limits = limits;
    link->state = LINK_UP;
    link->heard_ms = env_now_ms(t->env);
    link->ping_ms = link->heard_ms;
    log_event(t->env->logger, LOG_INFO, "peer_link_up", "node=%u direction=%s lane=%s peer=%s", link->node,
              link->outgoing ? "out" : "in", link->lane == TRANSPORT_DATA ? "data" : "urgent",
              env_conn_peer(t->env, link->conn));
}

/* Somebody dialled us. */
static void hear_caller(struct link *link, const struct frame *frame)
{
    struct transport *t = link->t;
    char text[ERRMSG_SIZE] = "";
    struct hello hello;
    struct peer *peer;
    int rv;

    rv = hello_decode(frame->message, frame->header.message_length, &hello);
    if (rv != 0) {
        link_close(link, "a hello that cannot be read", rv);
        return;
    }
    rv = judge(link, &hello, text);
    if (link->state != LINK_HELLO) {
        return; /* the owner closed everything meanwhile */
    }
    if (rv != 0) {
        refuse(link, hello.id.node, rv, text[0] != '\0' ? text : err_text(rv));
        return;
    }
    peer = peer_get(t, hello.id.node);
    if (peer == NULL) {
        refuse(link, hello.id.node, ERR_BUSY, "too many peers");
        return;
    }
    if (peer->in[hello.lane] != NULL) {
        link_close(peer->in[hello.lane], "a newer link of the same peer", ERR_CLOSED);
    }
    assert(t->strangers > 0);
    t->strangers--;
    link->peer = peer;
    link->node = hello.id.node;
    link->lane = (uint8_t)hello.lane;
    peer->in[link->lane] = link;
    peer->heard_ms = env_now_ms(t->env);
    say_hello(link, FRAME_RESPONSE, link->node);
    up(link);
}

/* The one whom we dialled answers. */
static void hear_answerer(struct link *link, const struct frame *frame)
{
    struct peer *peer = link->peer;
    char text[ERRMSG_SIZE] = "";
    struct hello hello;
    int rv;

    if (frame->header.status != 0) {
        refused(link, frame);
        return;
    }
    rv = hello_decode(frame->message, frame->header.message_length, &hello);
    if (rv != 0) {
        link_close(link, "a hello that cannot be read", rv);
        return;
    }
    rv = judge(link, &hello, text);
    if (link->state != LINK_HELLO) {
        return;
    }
    if (rv != 0) {
        if (peer != NULL) {
            peer->dials[link->lane].failures += 8;
        }
        refuse(link, hello.id.node, rv, text[0] != '\0' ? text : err_text(rv));
        return;
    }
    assert(peer != NULL && peer->out[link->lane] == link);
    up(link);
    peer->complained = false;
    peer->heard_ms = env_now_ms(link->t->env);
    peer->dials[link->lane].failures = 0;
    if (link->lane == TRANSPORT_URGENT) {
        dial_now(&peer->dials[TRANSPORT_DATA]);
    }
    peer_changed(peer);
}

void handshake_frame(struct link *link, const struct frame *frame)
{
    const struct frame_header *h = &frame->header;

    if (h->call != CALL_PEER_HELLO) {
        link_close(link, "no hello", ERR_MALFORMED);
        return;
    }
    if (link->state == LINK_UP) {
        /* Only a refusal may come now. */
        if (h->kind != FRAME_RESPONSE || h->status == 0) {
            link_close(link, "a second hello", ERR_MALFORMED);
            return;
        }
        refused(link, frame);
        return;
    }
    if (h->kind != (link->outgoing ? FRAME_RESPONSE : FRAME_REQUEST)) {
        link_close(link, "no hello", ERR_MALFORMED);
        return;
    }
    if (link->outgoing) {
        hear_answerer(link, frame);
    } else {
        hear_caller(link, frame);
    }
}
