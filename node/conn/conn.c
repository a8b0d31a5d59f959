#include "node/conn/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/conn/conn_internal.h"

struct conns *conns_new(const struct conns_params *params)
{
    struct conns *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->params = *params;
    c->env = params->env;
    list_init(&c->open);
    list_init(&c->ended);
    list_init(&c->dirty);
    list_init(&c->paused);
    timer_init(&c->sweep, conn_sweep);
    c->hook.run = conn_turn;
    env_hook_add(c->env, &c->hook);
    return c;
}

int conns_listen(struct conns *c, const struct conn_listener_params *listener, char *errmsg)
{
    struct conn_listener *l = &c->listeners[c->n_listeners];
    int rv;
    if (c->n_listeners == METADATA_LISTENERS_MAX) {
        snprintf(errmsg, ERRMSG_SIZE, "more than %d listeners", METADATA_LISTENERS_MAX);
        return ERR_CONFIG;
    }
    l->conns = c;
    l->door = listener->protocol == CONN_KAFKA ? &conn_kafka_door : &conn_native_door;
    snprintf(l->name, sizeof l->name, "%s", listener->name);
    rv = env_listen(c->env, listener->address, conn_accept, l, &l->listener, errmsg);
    if (rv == 0) {
        c->n_listeners++;
    }
    return rv;
}

const char *conns_address(const struct conns *c, uint32_t i)
{
    return env_listener_address(c->env, c->listeners[i].listener);
}

void conns_serve(struct conns *c, struct service *service)
{
    c->service = service;
    env_timer_start(c->env, &c->sweep, CONN_SWEEP_MS);
}

/* Listeners and connections that are still closing hold the memory. */
static void maybe_closed(struct conns *c)
{
    if (!c->closing || !list_empty(&c->open) || c->ending > 0) {
        return;
    }
    c->closing = false;
    {
        void (*closed)(void *data) = c->closed;
        void *data = c->closed_data;
        env_hook_remove(&c->hook);
        free(c);
        closed(data);
    }
}

void conns_ended(struct conns *c)
{
    c->ending--;
    maybe_closed(c);
}

static void close_later(struct env_message *message)
{
    conns_ended(container_of(message, struct conns, close_message));
}

void conns_close(struct conns *c, void (*closed)(void *data), void *data)
{
    c->closing = true;
    c->closed = closed;
    c->closed_data = data;
    env_timer_stop(c->env, &c->sweep);
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        env_listener_close(c->env, c->listeners[i].listener);
    }
    c->n_listeners = 0;
    list_for_each_safe(pos, &c->open)
    {
        struct conn *conn = list_entry(pos, struct conn, link);
        conn_flush(conn); /* what is answered already may still leave */
        conn_close(conn, NULL);
    }
    c->ending++; /* the message is inside of @c: it holds the memory like a connection does */
    c->close_message.run = close_later;
    env_post(c->env, &c->close_message);
}

void conns_abandon(struct conns *c)
{
    struct list *pos;
    list_splice_back(&c->open, &c->ended);
    while ((pos = list_pop_front(&c->open)) != NULL) {
        struct conn *conn = list_entry(pos, struct conn, link);
        conn->door->session_abandon(conn);
        conn_free(conn);
    }
    env_hook_remove(&c->hook);
    env_timer_stop(c->env, &c->sweep);
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        env_listener_close(c->env, c->listeners[i].listener);
    }
    free(c);
}

void conns_stats(const struct conns *c, struct conns_stats *stats)
{
    *stats = c->stats;
}
