#include "raft/transport/transport.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/transport/internal.h"

/* ---- peers ---- */

struct peer *peer_find(const struct transport *t, uint32_t node)
{
    struct peer *peer;

    HASH_FIND(hh, t->peers, &node, sizeof(node), peer);
    return peer;
}

struct peer *peer_get(struct transport *t, uint32_t node)
{
    struct peer *peer = peer_find(t, node);

    if (peer != NULL) {
        return peer;
    }
    if (HASH_COUNT(t->peers) >= TRANSPORT_PEERS_MAX) {
        return NULL;
    }
    peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        return NULL;
    }
    peer->t = t;
    peer->node = node;
    for (uint8_t lane = 0; lane < LANES; lane++) {
        dial_init(&peer->dials[lane], peer, lane);
    }
    HASH_ADD(hh, t->peers, node, sizeof(peer->node), peer);
    return peer;
}

static bool peer_is_up(const struct peer *peer)
{
    for (int lane = 0; lane < LANES; lane++) {
        if (peer->out[lane] == NULL || peer->out[lane]->state != LINK_UP) {
            return false;
        }
    }
    return true;
}

void peer_changed(struct peer *peer)
{
    if (peer_is_up(peer) != peer->reported_up) {
        peer->t->reports = true;
        env_wake(peer->t->env);
    }
}

/* Close the outgoing links without dialling again. */
static void peer_hang_up(struct peer *peer, const char *reason)
{
    bool dialled = peer->dialled;

    peer->dialled = false;
    for (int lane = LANES - 1; lane >= 0; lane--) {
        dial_stop(&peer->dials[lane]);
        if (peer->out[lane] != NULL) {
            link_close(peer->out[lane], reason, ERR_CLOSED);
        }
    }
    peer->dialled = dialled;
}

static bool address_valid(const char *address)
{
    const char *colon = strrchr(address, ':');
    unsigned long port;
    char *end;

    if (colon == NULL || colon == address || strlen(address) >= ENV_ADDRESS_MAX || colon[1] < '0' || colon[1] > '9') {
        return false;
    }
    port = strtoul(colon + 1, &end, 10);
    return *end == '\0' && port > 0 && port <= UINT16_MAX;
}

int transport_peer_set(struct transport *t, uint32_t node, const char *address)
{
    struct peer *peer;

    if (node == 0 || node == t->self.node || !address_valid(address)) {
        return ERR_INVALID;
    }
    if (peer_find(t, node) == NULL && HASH_COUNT(t->peers) >= TRANSPORT_PEERS_MAX) {
        return ERR_BUSY;
    }
    peer = peer_get(t, node);
    if (peer == NULL) {
        return ERR_NOMEM;
    }
    if (peer->dialled && strcmp(peer->address, address) == 0) {
        return 0;
    }
    peer_hang_up(peer, "the peer has moved");
    snprintf(peer->address, sizeof(peer->address), "%s", address);
    peer->dialled = true;
    peer->complained = false;
    peer->dials[TRANSPORT_URGENT].failures = 0;
    peer->dials[TRANSPORT_DATA].failures = 0;
    dial_now(&peer->dials[TRANSPORT_URGENT]);
    return 0;
}

static void peer_drop(struct peer *peer)
{
    struct transport *t = peer->t;

    peer->dialled = false;
    peer_hang_up(peer, "the peer was removed");
    for (int lane = 0; lane < LANES; lane++) {
        if (peer->in[lane] != NULL) {
            link_close(peer->in[lane], "the peer was removed", ERR_CLOSED);
        }
    }
    HASH_DEL(t->peers, peer);
    free(peer);
}

void transport_peer_remove(struct transport *t, uint32_t node)
{
    struct peer *peer = peer_find(t, node);

    if (peer != NULL) {
        peer_drop(peer);
    }
}

bool transport_peer_up(const struct transport *t, uint32_t node)
{
    const struct peer *peer = peer_find(t, node);

    return peer != NULL && peer_is_up(peer);
}

uint64_t transport_peer_silent_ms(const struct transport *t, uint32_t node)
{
    const struct peer *peer = peer_find(t, node);

    if (peer == NULL || peer->heard_ms == 0) {
        return UINT64_MAX;
    }
    return env_now_ms(t->env) - peer->heard_ms;
}

void transport_set_cluster(struct transport *t, const struct uuid *cluster_id)
{
    t->self.cluster_id = *cluster_id;
    list_for_each_safe(node, &t->links) {
        struct link *link = list_entry(node, struct link, link);
        /* Closing one link may close its sibling; none is freed before its connection has gone. */
        if (!uuid_equal(&link->said_cluster, cluster_id)) {
            link_close(link, "this node's cluster has changed", ERR_CLOSED);
        }
    }
}

bool refusal_fresh(struct transport *t, uint32_t node, int err)
{
    struct refusal_log *oldest = &t->refusals[0];
    uint64_t now_ms = env_now_ms(t->env);

    for (size_t i = 0; i < REFUSAL_LOG_SLOTS; i++) {
        struct refusal_log *slot = &t->refusals[i];
        if (slot->at_ms != 0 && slot->node == node && slot->err == err) {
            if (now_ms - slot->at_ms < REFUSAL_LOG_MS) {
                return false;
            }
            slot->at_ms = now_ms;
            return true;
        }
        if (slot->at_ms < oldest->at_ms) {
            oldest = slot;
        }
    }
    oldest->node = node;
    oldest->err = err;
    oldest->at_ms = now_ms > 0 ? now_ms : 1;
    return true;
}

void transport_accept(struct env_listener *listener, void *data, struct env_conn *conn)
{
    struct transport *t = data;

    (void)listener;
    if (t->closing || t->strangers >= STRANGERS_MAX || link_new(t, conn, false, TRANSPORT_URGENT, NULL) == NULL) {
        if (!t->closing && refusal_fresh(t, 0, ERR_BUSY)) {
            log_event(t->env->logger, LOG_WARN, "peer_not_accepted", "peer=%s waiting=%u", env_conn_peer(t->env, conn),
                      t->strangers);
        }
        env_conn_close(t->env, conn, NULL, NULL);
        return;
    }
    t->strangers++;
}

/* ---- sending ---- */

static struct link *link_to(struct transport *t, uint32_t node, enum transport_lane lane)
{
    struct peer *peer = peer_find(t, node);
    struct link *link = peer != NULL ? peer->out[lane] : NULL;

    return link != NULL && link->state == LINK_UP ? link : NULL;
}

static int queued(struct transport *t, struct link *link, int rv)
{
    if (rv != 0) {
        t->stats.dropped++;
        return rv;
    }
    if (list_empty(&link->flush_link)) {
        list_push_back(&t->flush, &link->flush_link);
        env_wake(t->env);
    }
    return 0;
}

int transport_send(struct transport *t, uint32_t node, enum transport_lane lane, uint64_t group, const uint8_t *header,
                   size_t size, struct entry *const *entries, size_t n)
{
    struct link *link = link_to(t, node, lane);

    if (lane == TRANSPORT_URGENT && n > 0) {
        return ERR_INVALID;
    }
    if (link == NULL) {
        t->stats.dropped++;
        return ERR_CLOSED;
    }
    return queued(t, link, outbox_message(&link->outbox, group, header, size, entries, n));
}

int transport_control(struct transport *t, uint32_t node, uint16_t call, const uint8_t *message, size_t size)
{
    struct link *link = link_to(t, node, TRANSPORT_URGENT);

    if (!call_is_peer(call) || call == CALL_PEER_HELLO || call == CALL_PEER_RAFT) {
        return ERR_INVALID;
    }
    if (link == NULL) {
        t->stats.dropped++;
        return ERR_CLOSED;
    }
    return queued(t, link, outbox_frame(&link->outbox, FRAME_REQUEST, call, 0, message, size));
}

/* ---- turns and time ---- */

/* Reports may remove peers: begin anew after each. */
static void report_links(struct transport *t)
{
    bool again = t->reports;

    t->reports = false;
    while (again && !t->closing) {
        struct peer *peer;
        struct peer *next;
        again = false;
        HASH_ITER(hh, t->peers, peer, next) {
            if (peer_is_up(peer) != peer->reported_up) {
                peer->reported_up = !peer->reported_up;
                again = true;
                t->ops->link(t->data, peer->node, peer->reported_up);
                break;
            }
        }
    }
}

static void on_turn(struct env_hook *hook)
{
    struct transport *t = container_of(hook, struct transport, hook);
    struct list *node;

    if (t->reports) {
        report_links(t);
    }
    while ((node = list_pop_front(&t->flush)) != NULL) {
        struct link *link = list_entry(node, struct link, flush_link);
        if (link->outbox.flying == NULL) {
            link_flush(link);
        }
    }
}

static void on_tick(struct timer *timer)
{
    struct transport *t = container_of(timer, struct transport, tick);
    uint64_t now_ms = env_now_ms(t->env);
    bool stalled = now_ms - t->ticked_ms > STALL_MS;

    t->ticked_ms = now_ms;
    list_for_each_safe(node, &t->links) {
        struct link *link = list_entry(node, struct link, link);
        if (stalled) { /* it was us who did not listen: what peers said meanwhile is still in the sockets */
            link->heard_ms = now_ms;
            link->opened_ms = now_ms;
        }
        link_tick(link, now_ms);
    }
    env_timer_start(t->env, &t->tick, TICK_MS);
}

static void on_pause(struct timer *timer)
{
    struct transport *t = container_of(timer, struct transport, pause);
    bool room = buf_pool_bytes_out(t->pool) <= t->receive_max_bytes;
    uint64_t now_ms = env_now_ms(t->env);
    bool trickle = !room && now_ms - t->paused_at_ms >= PAUSE_TRICKLE_MS;

    if (!room && !trickle) {
        env_timer_start(t->env, &t->pause, PAUSE_CHECK_MS);
        return;
    }
    t->paused_at_ms = room ? 0 : now_ms;
    list_for_each_safe(node, &t->links) {
        struct link *link = list_entry(node, struct link, link);
        if (link->paused && link->state != LINK_CLOSING) {
            link->trickle = trickle;
            link_resume(link);
        }
    }
    if (trickle) {
        env_timer_start(t->env, &t->pause, PAUSE_CHECK_MS);
    }
}

/* ---- life ---- */

int transport_open(const struct transport_params *params, struct transport **out, char *errmsg)
{
    struct transport *t;
    int rv;

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        snprintf(errmsg, ERRMSG_SIZE, "out of memory");
        return ERR_NOMEM;
    }
    t->env = params->env;
    t->pool = params->pool;
    t->self = *params->self;
    t->receive_max_bytes = params->receive_max_bytes;
    t->ops = params->ops;
    t->data = params->data;
    list_init(&t->links);
    list_init(&t->flush);
    list_init(&t->attempts);
    timer_init(&t->tick, on_tick);
    timer_init(&t->pause, on_pause);
    rv = env_listen(t->env, params->listen_address, transport_accept, t, &t->listener, errmsg);
    if (rv != 0) {
        free(t);
        return rv;
    }
    snprintf(t->address, sizeof(t->address), "%s", env_listener_address(t->env, t->listener));
    if (t->self.peer_address[0] == '\0') {
        snprintf(t->self.peer_address, sizeof(t->self.peer_address), "%s", t->address);
    }
    t->ticked_ms = env_now_ms(t->env);
    t->hook.run = on_turn;
    env_hook_add_at(t->env, &t->hook, ENV_PHASE_SEND);
    env_timer_start(t->env, &t->tick, TICK_MS);
    *out = t;
    return 0;
}

/* Runs in a turn of its own, so never inside transport_close(). */
static void on_closed(struct env_message *message)
{
    struct transport *t = container_of(message, struct transport, closed_message);
    void (*closed)(void *data) = t->closed;
    void *data = t->closed_data;

    free(t);
    if (closed != NULL) {
        closed(data);
    }
}

void transport_link_gone(struct transport *t)
{
    if (t->closing && list_empty(&t->links) && !t->closed_posted) {
        t->closed_posted = true;
        t->closed_message.run = on_closed;
        env_post(t->env, &t->closed_message);
    }
}

static void peers_drop(struct transport *t)
{
    struct peer *peer;
    struct peer *next;

    HASH_ITER(hh, t->peers, peer, next) {
        peer_drop(peer);
    }
}

void transport_close(struct transport *t, void (*closed)(void *data), void *data)
{
    assert(!t->closing);
    t->closing = true;
    t->closed = closed;
    t->closed_data = data;
    env_timer_stop(t->env, &t->tick);
    env_timer_stop(t->env, &t->pause);
    env_hook_remove(&t->hook);
    env_listener_close(t->env, t->listener);
    attempts_forget(t);
    peers_drop(t);
    list_for_each_safe(node, &t->links) {
        link_close(list_entry(node, struct link, link), "closing", ERR_SHUTDOWN);
    }
    transport_link_gone(t);
}

void transport_abandon(struct transport *t)
{
    struct list *node;
    struct peer *peer;
    struct peer *next;

    while (!list_empty(&t->links)) {
        link_free(list_entry(t->links.next, struct link, link));
    }
    while ((node = list_pop_front(&t->attempts)) != NULL) {
        free(list_entry(node, struct attempt, link));
    }
    HASH_ITER(hh, t->peers, peer, next) {
        HASH_DEL(t->peers, peer);
        free(peer);
    }
    free(t);
}

const char *transport_address(const struct transport *t)
{
    return t->address;
}

void transport_stats(const struct transport *t, struct transport_stats *stats)
{
    *stats = t->stats;
}
