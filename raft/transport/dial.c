/* Outgoing links: connecting, and trying again with back-off and jitter. */
#include "raft/transport/internal.h"

#include <assert.h>
#include <stdlib.h>

static void on_timer(struct timer *timer)
{
    dial_now(container_of(timer, struct dial, timer));
}

void dial_init(struct dial *dial, struct peer *peer, uint8_t lane)
{
    dial->peer = peer;
    dial->lane = lane;
    dial->failures = 0;
    dial->attempt = NULL;
    timer_init(&dial->timer, on_timer);
}

static void complain(struct peer *peer, int err)
{
    if (!peer->complained) {
        peer->complained = true;
        log_event(peer->t->env->logger, LOG_WARN, "peer_unreachable", "node=%u address=%s error=%s", peer->node,
                  peer->address, err_name(err));
    }
}

static void on_connect(struct env *env, void *data, int status, struct env_conn *conn)
{
    struct attempt *attempt = data;
    struct transport *t = attempt->t;
    struct peer *peer = attempt->peer;
    uint8_t lane = attempt->lane;
    struct link *link;

    list_remove(&attempt->link);
    free(attempt);
    if (t == NULL || peer == NULL) {
        if (status == 0) {
            env_conn_close(env, conn, NULL, NULL);
        }
        return;
    }
    peer->dials[lane].attempt = NULL;
    if (status != 0) {
        complain(peer, status);
        dial_later(&peer->dials[lane]);
        return;
    }
    t->stats.connects++;
    assert(peer->out[lane] == NULL);
    link = link_new(t, conn, true, lane, peer);
    if (link == NULL) {
        env_conn_close(env, conn, NULL, NULL);
        dial_later(&peer->dials[lane]);
        return;
    }
    peer->out[lane] = link;
    handshake_start(link);
}

void dial_now(struct dial *dial)
{
    struct peer *peer = dial->peer;
    struct transport *t = peer->t;
    struct attempt *attempt;
    int rv;

    env_timer_stop(t->env, &dial->timer);
    if (dial->attempt != NULL || peer->out[dial->lane] != NULL || !peer->dialled || t->closing) {
        return;
    }
    if (dial->lane == TRANSPORT_DATA &&
        (peer->out[TRANSPORT_URGENT] == NULL || peer->out[TRANSPORT_URGENT]->state != LINK_UP)) {
        return; /* it comes behind the urgent lane */
    }
    attempt = calloc(1, sizeof(*attempt));
    if (attempt == NULL) {
        dial_later(dial);
        return;
    }
    attempt->t = t;
    attempt->peer = peer;
    attempt->lane = dial->lane;
    list_push_back(&t->attempts, &attempt->link);
    dial->attempt = attempt;
    rv = env_connect(t->env, peer->address, on_connect, attempt);
    if (rv != 0) {
        list_remove(&attempt->link);
        free(attempt);
        dial->attempt = NULL;
        complain(peer, rv);
        dial_later(dial);
    }
}

void dial_later(struct dial *dial)
{
    struct transport *t = dial->peer->t;
    uint64_t delay_ms = TRANSPORT_BACKOFF_MAX_MS;

    if (t->closing || !dial->peer->dialled) {
        return;
    }
    if (dial->failures < 5) {
        delay_ms = (uint64_t)TRANSPORT_BACKOFF_MIN_MS << dial->failures;
    }
    if (delay_ms > TRANSPORT_BACKOFF_MAX_MS) {
        delay_ms = TRANSPORT_BACKOFF_MAX_MS;
    }
    if (dial->failures < 1000) {
        dial->failures++;
    }
    delay_ms = delay_ms / 2 + env_random(t->env) % (delay_ms / 2 + 1);
    env_timer_start(t->env, &dial->timer, delay_ms);
}

void dial_stop(struct dial *dial)
{
    env_timer_stop(dial->peer->t->env, &dial->timer);
    if (dial->attempt != NULL) {
        dial->attempt->peer = NULL; /* its connection is closed when it comes */
        dial->attempt = NULL;
    }
}

/* The transport goes, attempts under way end by themselves. */
void attempts_forget(struct transport *t)
{
    struct list *node;

    while ((node = list_pop_front(&t->attempts)) != NULL) {
        struct attempt *attempt = list_entry(node, struct attempt, link);
        attempt->t = NULL;
        attempt->peer = NULL;
    }
}
