/* Connections as their owners see them: reading, writing, closing. All callbacks come in turns of the owner's loop. */
#include "tests/sim/net.h"

#include <stdlib.h>
#include <string.h>

#define READS_A_TURN_MAX 16

void sim_conn_new(struct sim_point *point)
{
    point->conn = malloc(sizeof(*point->conn));
    assert(point->conn != NULL);
    point->conn->point = point;
}

/* An event in a turn of the owner, that finds out for itself whether the connection is still the same. */
static void point_ready(struct sim_point *point, void (*deliver)(struct sim_loop *loop, struct sim_event *event))
{
    sim_loop_ready(point->loop, deliver, point)->value = point->pair->id;
}

static struct sim_point *point_of(const struct sim_event *event)
{
    struct sim_point *point = event->object;
    return point->pair->id == event->value ? point : NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool has_news(const struct sim_point *point)
{
    return point->error != 0 || point->eof || point->other->out.arrived > point->other->out.read;
}

static void end_reading(struct sim_point *point, ssize_t n)
{
    point->ended = true;
    point->reading = false;
    point->callbacks->read(point->conn, point->data, n);
}

/* One read call. False: enough for now. */
static bool read_once(struct sim_point *point)
{
    struct sim_world *world = point->node->world;
    const struct sim_stream *in = &point->other->out;
    uint8_t *base = NULL;
    size_t len = 0;

    if (point->error != 0) {
        end_reading(point, -(ssize_t)point->error);
        return false;
    }
    if (in->arrived == in->read) {
        if (point->eof) {
            end_reading(point, 0);
        }
        return false;
    }
    point->in_alloc = true;
    point->callbacks->alloc(point->conn, point->data, &base, &len);
    point->in_alloc = false;
    if (point->closing || !point->reading) {
        return false;
    }
    if (len == 0) {
        point->reading = false;
        return false;
    }
    if (sim_rng_chance(&world->rng, world->params.net.split_ppm / 16)) {
        return true; /* asked for memory, and then nothing had come after all */
    }
    size_t n = in->arrived - in->read < len ? (size_t)(in->arrived - in->read) : len;
    if (n > 1 && sim_rng_chance(&world->rng, world->params.net.split_ppm / 4)) {
        n = 1 + sim_rng_below(&world->rng, n - 1);
    }
    sim_stream_take(point, base, n);
    point->callbacks->read(point->conn, point->data, (ssize_t)n);
    return point->reading && !point->closing;
}

static void read_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct sim_point *point = point_of(event);

    if (point == NULL) {
        return;
    }
    point->read_queued = false;
    for (int i = 0; i < READS_A_TURN_MAX; i++) {
        if (!point->reading || point->closing || !read_once(point)) {
            break;
        }
    }
    sim_point_readable(point);
}

void sim_point_readable(struct sim_point *point)
{
    if (point->reading && !point->closing && !point->read_queued && !point->ended && has_news(point)) {
        point->read_queued = true;
        point_ready(point, read_deliver);
    }
}

void sim_conn_read_start(struct env_conn *conn, const struct env_conn_callbacks *callbacks, void *data)
{
    struct sim_point *point = conn->point;

    assert(!point->closing);
    if (sim_dead(point->loop)) {
        return;
    }
    sim_assert_on_loop(point->loop);
    point->callbacks = callbacks;
    point->data = data;
    if (!point->ended) {
        point->reading = true;
        sim_point_readable(point);
    }
}

void sim_conn_read_stop(struct env_conn *conn)
{
    sim_assert_on_loop(conn->point->loop);
    conn->point->reading = false;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct env_write *write = event->object;
    write->done(write, (int)event->value);
}

static void write_finish(struct sim_point *point, struct env_write *write, int status)
{
    sim_loop_ready(point->loop, write_deliver, write)->value = (uint64_t)status;
}

static void write_unqueue(struct sim_point *point, struct sim_write *w, int status)
{
    list_remove(&w->link);
    if (w->iov != w->own) {
        free(w->iov);
    }
    write_finish(point, (struct env_write *)(void *)((char *)w - offsetof(struct env_write, impl)), status);
}

static size_t iov_size(const struct iovec *iov, size_t n_iov, size_t skip)
{
    size_t size = 0;
    for (size_t i = 0; i < n_iov; i++) {
        size += iov[i].iov_len;
    }
    return size - skip;
}

/* Move what there is room for; the rest waits. */
static void pump(struct sim_point *point)
{
    while (!list_empty(&point->writes)) {
        struct sim_write *w = list_entry(point->writes.next, struct sim_write, link);
        size_t left = iov_size(w->iov + w->at, w->n_iov - w->at, w->skip);
        size_t room = sim_stream_room(point);
        size_t n = left < room ? left : room;
        if (n == 0) {
            return;
        }
        sim_stream_put(point, w->iov + w->at, w->n_iov - w->at, w->skip, n);
        if (n == left) {
            write_unqueue(point, w, 0);
            continue;
        }
        n += w->skip;
        while (n >= w->iov[w->at].iov_len) {
            n -= w->iov[w->at++].iov_len;
        }
        w->skip = n;
    }
}

static void pump_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct sim_point *point = point_of(event);
    if (point != NULL) {
        point->pump_queued = false;
        pump(point);
    }
}

void sim_point_writable(struct sim_point *point)
{
    struct sim_world *world = point->node->world;

    if (list_empty(&point->writes) || point->pump_queued || point->loop == NULL) {
        return;
    }
    point->pump_queued = true; /* the news travels back */
    struct sim_event *event = sim_event_new(world, SIM_EV_NET);
    event->fire = sim_event_to_ready;
    event->deliver = pump_deliver;
    event->node = point->node;
    event->loop = point->loop;
    event->object = point;
    event->value = point->pair->id;
    sim_event_at(world, sim_here_ns(world) + sim_net_latency(world, point->other->node, point->node), event);
}

void sim_conn_write(struct env_conn *conn, struct env_write *write, const struct iovec *iov, size_t n_iov)
{
    struct sim_point *point = conn->point;
    struct sim_world *world = point->node->world;
    struct sim_write *w = (struct sim_write *)(void *)write->impl;
    size_t size = iov_size(iov, n_iov, 0);

    if (sim_dead(point->loop)) {
        return;
    }
    sim_assert_on_loop(point->loop);
    int status = point->closing ? ERR_CLOSED : point->error;
    if (status != 0 || size == 0) {
        write_finish(point, write, status);
        return;
    }
    if (list_empty(&point->writes) && size <= sim_stream_room(point) &&
        !sim_rng_chance(&world->rng, world->params.net.split_ppm / 8)) {
        sim_stream_put(point, iov, n_iov, 0, size);
        write_finish(point, write, 0);
        return;
    }
    w->iov = n_iov <= 16 ? w->own : malloc(n_iov * sizeof(*iov));
    assert(w->iov != NULL);
    memcpy(w->iov, iov, n_iov * sizeof(*iov));
    w->n_iov = n_iov;
    w->at = 0;
    w->skip = 0;
    list_push_back(&point->writes, &w->link);
    if (!point->pump_queued && sim_stream_room(point) > 0) {
        point->pump_queued = true;
        point_ready(point, pump_deliver);
    }
}

void sim_point_fail_writes(struct sim_point *point, int error)
{
    while (!list_empty(&point->writes)) {
        write_unqueue(point, list_entry(point->writes.next, struct sim_write, link), error);
    }
}

void sim_net_forget_writes(struct sim_node *node)
{
    list_for_each(l, &node->world->pairs) {
        struct sim_pair *pair = list_entry(l, struct sim_pair, link);
        for (int i = 0; i < 2; i++) {
            while (pair->points[i].node == node && !list_empty(&pair->points[i].writes)) {
                struct sim_write *w = list_entry(list_pop_front(&pair->points[i].writes), struct sim_write, link);
                if (w->iov != w->own) {
                    free(w->iov);
                }
            }
        }
    }
}

/* ---- closing --------------------------------------------------------------------------------- */

const char *sim_conn_peer(struct env_conn *conn)
{
    return conn->point->peer;
}

static void closed_deliver(struct sim_loop *loop, struct sim_event *event)
{
    struct sim_point *point = event->object; /* in use until now */
    env_closed_cb closed = point->closed;
    void *data = point->closed_data;

    free(point->conn);
    point->conn = NULL;
    sim_pair_done(point);
    if (closed != NULL) {
        closed(data);
    }
}

void sim_conn_close(struct env_conn *conn, env_closed_cb cb, void *data)
{
    struct sim_point *point = conn->point;

    if (sim_dead(point->loop)) {
        return;
    }
    sim_assert_on_loop(point->loop);
    assert(!point->closing);
    point->closing = true;
    point->reading = false;
    point->closed = cb;
    point->closed_data = data;
    sim_point_fail_writes(point, ERR_CLOSED);
    if (point->error == 0) { /* unread bytes make the kernel send a reset instead of an end */
        bool unread = point->other->out.arrived > point->other->out.read;
        sim_stream_finish(point, unread ? SIM_SEGMENT_RST : SIM_SEGMENT_FIN);
    }
    sim_point_deaf(point);
    point->gone = true;
    point_ready(point, closed_deliver);
}
