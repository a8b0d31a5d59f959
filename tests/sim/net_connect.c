/* Listening, connecting, accepting. A host is a node's name; loopback and wildcard addresses mean the node itself. */
#include "tests/sim/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYN_RETRY_NS SIM_S /* doubled each time */

struct connect {
    env_connect_cb cb;
    void *data;
    char host[SIM_HOST_MAX];
    unsigned port;
    char address[ENV_ADDRESS_MAX];
    uint64_t deadline;
    uint64_t retry_ns;
    int status;
    struct sim_point *point;
    uint64_t pair_id;
};

static int split(const char *address, char host[ENV_ADDRESS_MAX], unsigned *port)
{
    const char *colon = strrchr(address, ':');
    char *end;

    if (colon == NULL || colon == address || colon[1] < '0' || colon[1] > '9' ||
        (size_t)(colon - address) >= ENV_ADDRESS_MAX) {
        return ERR_INVALID;
    }
    unsigned long value = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || value > 65535) {
        return ERR_INVALID;
    }
    *port = (unsigned)value;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    return 0;
}

static bool means_itself(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "[::1]") == 0 || strcmp(host, "[::]") == 0;
}

/* ---- listening ------------------------------------------------------------------------------- */

static struct env_listener *listener_find(const struct sim_node *node, unsigned port)
{
    list_for_each(l, &node->listeners) {
        struct env_listener *listener = list_entry(l, struct env_listener, link);
        if (listener->port == port) {
            return listener;
        }
    }
    return NULL;
}

int sim_listen(struct env *env, const char *address, env_accept_cb accept, void *data, struct env_listener **out,
               char *errmsg)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_node *node = loop->node;
    char host[ENV_ADDRESS_MAX];
    unsigned port;

    sim_assert_on_loop(loop);
    if (sim_dead(loop)) {
        return ERR_SHUTDOWN;
    }
    if (split(address, host, &port) != 0 || (strcmp(host, node->host) != 0 && !means_itself(host))) {
        (void)snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: not an address of this machine", address);
        return ERR_INVALID;
    }
    while (port == 0) {
        port = listener_find(node, node->port_next) == NULL ? node->port_next : 0;
        node->port_next = node->port_next == 60999 ? 32768 : node->port_next + 1;
    }
    if (listener_find(node, port) != NULL) {
        (void)snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: another program uses this port", address);
        return ERR_REFUSED;
    }
    struct env_listener *listener = calloc(1, sizeof(*listener));
    assert(listener != NULL);
    listener->loop = loop;
    listener->port = port;
    listener->accept = accept;
    listener->data = data;
    (void)snprintf(listener->address, sizeof(listener->address), "%.200s:%u", host, port);
    list_push_back(&node->listeners, &listener->link);
    *out = listener;
    return 0;
}

const char *sim_listener_address(struct env_listener *listener)
{
    return listener->address;
}

void sim_listener_close(struct env_listener *listener)
{
    sim_assert_on_loop(listener->loop);
    list_remove(&listener->link);
    free(listener);
}

void sim_listeners_close_all(struct sim_node *node, struct sim_loop *loop)
{
    list_for_each_safe(l, &node->listeners) {
        struct env_listener *listener = list_entry(l, struct env_listener, link);
        if (loop == NULL || listener->loop == loop) {
            list_remove(l);
            free(listener);
        }
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void connect_drop(struct sim_world *world, struct sim_event *event)
{
    free(event->object);
}

static void connect_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct connect c = *(struct connect *)event->object;

    free(event->object);
    event->object = NULL;
    if (c.status != 0) {
        c.cb(&loop->env, c.data, c.status, NULL);
        return;
    }
    assert(c.point->pair->id == c.pair_id);
    sim_conn_new(c.point);
    c.cb(&loop->env, c.data, 0, c.point->conn);
}

/* The answer travels back and is reported. */
static void connect_answer(struct sim_world *world, struct sim_event *event, int status, uint64_t ns)
{
    struct connect *c = event->object;
    c->status = status;
    event->fire = sim_event_to_ready;
    event->deliver = connect_deliver;
    sim_event_at(world, world->now + ns, event);
}

static void accept_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct sim_point *point = event->object;
    struct env_listener *listener = listener_find(point->node, (unsigned)(uintptr_t)event->object2);

    if (point->pair->id != event->value) {
        return;
    }
    if (listener == NULL || listener->loop != loop) { /* closed while this one was in its backlog */
        sim_stream_finish(point, SIM_SEGMENT_RST);
        point->gone = true;
        sim_pair_done(point);
        return;
    }
    sim_conn_new(point);
    listener->accept(listener, listener->data, point->conn);
}

static struct sim_node *node_find(struct sim_world *world, const char *host)
{
    for (size_t i = 0; i < world->n_nodes; i++) {
        if (strcmp(world->nodes[i]->host, host) == 0) {
            return world->nodes[i];
        }
    }
    return NULL;
}

/* The other side's kernel makes the connection, whether its program runs or not. */
static void connect_open(struct sim_world *world, struct connect *c, struct sim_loop *loop,
                         struct env_listener *listener)
{
    struct sim_pair *pair = sim_pair_new(world);
    struct sim_point *client = &pair->points[0];
    struct sim_point *server = &pair->points[1];

    client->node = loop->node;
    client->loop = loop;
    memcpy(client->peer, c->address, sizeof(client->peer));
    server->node = listener->loop->node;
    server->loop = listener->loop;
    (void)snprintf(server->peer, sizeof(server->peer), "%s:%u", client->node->host,
                   (unsigned)(32768 + pair->id % 28000));
    world->pair_newest[client->node->id][server->node->id] = pair->id;
    world->pair_newest[server->node->id][client->node->id] = pair->id;
    struct sim_event *event = sim_loop_ready(server->loop, accept_deliver, server);
    event->value = pair->id;
    event->object2 = (void *)(uintptr_t)listener->port;
    c->point = client;
    c->pair_id = pair->id;
}

static void syn_fire(struct sim_world *world, struct sim_event *event)
{
    struct connect *c = event->object;
    struct sim_node *from = event->node;
    struct sim_node *to = means_itself(c->host) ? from : node_find(world, c->host);

    if (to == NULL) {
        connect_answer(world, event, ERR_NOT_FOUND, 0);
        return;
    }
    if (sim_net_blocked(world, from, to) || sim_net_blocked(world, to, from)) {
        if (world->now >= c->deadline) {
            connect_answer(world, event, ERR_TIMEOUT, 0);
            return;
        }
        uint64_t next = world->now + c->retry_ns;
        c->retry_ns *= 2;
        sim_event_at(world, next < c->deadline ? next : c->deadline, event);
        return;
    }
    struct env_listener *listener = to->running && !to->dead ? listener_find(to, c->port) : NULL;
    uint64_t back = sim_net_latency(world, to, from);
    if (listener == NULL) {
        connect_answer(world, event, ERR_REFUSED, back);
        return;
    }
    connect_open(world, c, event->loop, listener);
    connect_answer(world, event, 0, back);
}

int sim_connect(struct env *env, const char *address, env_connect_cb cb, void *data)
{
    struct sim_loop *loop = sim_loop_of(env);
    struct sim_world *world = loop->world;
    char host[ENV_ADDRESS_MAX];
    unsigned port;

    sim_assert_on_loop(loop);
    if (sim_dead(loop)) {
        return ERR_SHUTDOWN;
    }
    int rv = split(address, host, &port);
    if (rv != 0) {
        return rv;
    }
    struct connect *c = calloc(1, sizeof(*c));
    assert(c != NULL);
    c->cb = cb;
    c->data = data;
    (void)snprintf(c->host, sizeof(c->host), "%.31s", host);
    (void)snprintf(c->address, sizeof(c->address), "%.250s", address);
    c->port = port;
    c->retry_ns = SYN_RETRY_NS;
    c->deadline = sim_here_ns(world) + world->params.net.connect_timeout_ns;
    const struct sim_node *to = means_itself(host) ? loop->node : node_find(world, c->host);
    struct sim_event *event = sim_event_new(world, SIM_EV_NET);
    event->fire = syn_fire;
    event->drop = connect_drop;
    event->node = loop->node;
    event->loop = loop;
    event->object = c;
    sim_event_at(world, sim_here_ns(world) + sim_net_latency(world, loop->node, to == NULL ? loop->node : to), event);
    return 0;
}
