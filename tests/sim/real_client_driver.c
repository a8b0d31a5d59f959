/* Runs the client's core on an environment: connections, one timer, a turn of the core at the end of each turn. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/conn.h"
#include "tests/sim/real_client.h"

struct real_link {
    struct list link; /* of driver.links */
    struct real_driver *driver;
    struct conn *conn;       /* NULL: the core was told of its end */
    struct env_conn *socket; /* NULL: not connected */
    bool connecting;
    bool closing; /* nothing of it reaches the core any more but its end */
    bool down;    /* the end is due, in the next turn */
    int err;
    struct list sends;
};

struct real_send {
    struct list link; /* of real_link.sends */
    struct real_link *owner;
    struct env_write write;
};

static void link_free(struct real_link *l)
{
    list_remove(&l->link);
    free(l);
}

static void link_gone(struct real_link *l)
{
    if (l->conn != NULL) {
        l->driver->drops++;
        core_conn_down(l->conn, env_now_ns(l->driver->env), l->err != 0 ? l->err : ERR_CLOSED, NULL);
        l->conn = NULL;
    }
}

static void on_closed(void *data)
{
    struct real_link *l = data;

    assert(list_empty(&l->sends));
    link_gone(l);
    link_free(l);
}

static void link_close(struct real_link *l, int err)
{
    if (l->closing) {
        return;
    }
    l->closing = true;
    l->err = err;
    if (l->socket != NULL) {
        env_conn_close(l->driver->env, l->socket, on_closed, l);
        l->socket = NULL;
    } else {
        l->down = true; /* the attempt itself cannot be called back */
        env_wake(l->driver->env);
    }
}

static void link_alloc(struct env_conn *socket, void *data, uint8_t **base, size_t *len)
{
    struct real_link *l = data;
    int rv = core_conn_read_alloc(l->conn, base, len);

    assert(rv == 0);
    (void)rv;
}

static void link_read(struct env_conn *socket, void *data, ssize_t n)
{
    struct real_link *l = data;

    if (n > 0) {
        core_conn_read_commit(l->conn, (size_t)n, env_now_ns(l->driver->env));
    } else {
        link_close(l, n == 0 ? ERR_CLOSED : (int)-n);
    }
}

static const struct env_conn_callbacks callbacks = {link_alloc, link_read};

static void on_connect(struct env *env, void *data, int status, struct env_conn *socket)
{
    struct real_link *l = data;

    l->connecting = false;
    if (l->closing) { /* the core has given it up */
        if (status != 0) {
            link_gone(l);
            link_free(l);
        } else {
            env_conn_close(env, socket, on_closed, l);
        }
        return;
    }
    if (status != 0) {
        l->err = status;
        link_gone(l);
        link_free(l);
        return;
    }
    l->socket = socket;
    env_conn_read_start(env, socket, &callbacks, l);
    core_conn_up(l->conn, env_now_ns(env));
}

static int io_connect(struct client_io *io, struct conn *conn, const char *address)
{
    struct real_driver *d = container_of(io, struct real_driver, io);
    struct real_link *l = calloc(1, sizeof *l);
    int rv;

    assert(l != NULL);
    l->driver = d;
    l->conn = conn;
    list_init(&l->sends);
    rv = env_connect(d->env, address, on_connect, l);
    if (rv != 0) {
        free(l);
        return rv;
    }
    l->connecting = true;
    list_push_back(&d->links, &l->link);
    core_conn_set_driver(conn, l);
    return 0;
}

static void on_sent(struct env_write *write, int status)
{
    struct real_send *send = container_of(write, struct real_send, write);
    struct real_link *l = send->owner;

    list_remove(&send->link);
    free(send);
    if (status == 0 && l->conn != NULL) {
        core_conn_sent(l->conn);
    } else if (status != 0) {
        link_close(l, status);
    }
}

static void io_send(struct client_io *io, struct conn *conn, const struct iovec *iov, unsigned count)
{
    struct real_link *l = core_conn_driver(conn);
    struct real_send *send;

    if (l->closing) {
        return; /* its end settles it */
    }
    send = calloc(1, sizeof *send);
    assert(send != NULL && count <= ENV_IOV_MAX);
    send->owner = l;
    send->write.done = on_sent;
    list_push_back(&l->sends, &send->link);
    env_conn_write(l->driver->env, l->socket, &send->write, iov, count);
}

static void io_close(struct client_io *io, struct conn *conn)
{
    struct real_driver *d = container_of(io, struct real_driver, io);

    if (!d->dead) {
        link_close(core_conn_driver(conn), 0);
    }
}

static void io_timer(struct client_io *io, uint64_t deadline_ns)
{
    container_of(io, struct real_driver, io)->deadline_ns = deadline_ns;
}

static void on_timer(struct timer *timer)
{
    container_of(timer, struct real_driver, timer)->armed_ns = UINT64_MAX; /* the turn comes with the hook */
}

static void arm(struct real_driver *d, uint64_t now_ns)
{
    if (d->deadline_ns == d->armed_ns) {
        return;
    }
    d->armed_ns = d->deadline_ns;
    if (d->deadline_ns == UINT64_MAX) {
        env_timer_stop(d->env, &d->timer);
        return;
    }
    env_timer_start(d->env, &d->timer,
                    d->deadline_ns > now_ns ? (d->deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0);
}

static void driver_turn(struct env_hook *hook)
{
    struct real_driver *d = container_of(hook, struct real_driver, hook);
    uint64_t now_ns = env_now_ns(d->env);

    if (now_ns < d->frozen_ns) {
        return; /* its owner's tick brings the next turn */
    }
    list_for_each_safe(pos, &d->links)
    {
        struct real_link *l = list_entry(pos, struct real_link, link);
        if (l->down) {
            l->down = false;
            link_gone(l); /* it is freed when the attempt to connect has ended */
        }
    }
    core_turn(&d->core, now_ns);
    d->after_turn(d);
    arm(d, now_ns);
}

void real_driver_start(struct real_driver *d, struct env *env, const struct core_config *config,
                       void (*after_turn)(struct real_driver *d))
{
    int rv;

    memset(d, 0, sizeof *d);
    d->io = (struct client_io){io_connect, io_send, io_close, io_timer};
    d->env = env;
    d->deadline_ns = UINT64_MAX;
    d->armed_ns = UINT64_MAX;
    d->after_turn = after_turn;
    list_init(&d->links);
    timer_init(&d->timer, on_timer);
    rv = core_init(&d->core, &d->io, config, env_random(env));
    assert(rv == 0);
    (void)rv;
    d->hook.run = driver_turn;
    env_hook_add(env, &d->hook);
}

void real_driver_abandon(struct real_driver *d)
{
    struct list *pos;

    d->dead = true;
    core_shutdown(&d->core);
    while ((pos = list_pop_front(&d->links)) != NULL) {
        struct real_link *l = list_entry(pos, struct real_link, link);
        if (l->conn != NULL) {
            core_conn_down(l->conn, d->core.now_ns, ERR_CLOSED, NULL);
        }
        while ((pos = list_pop_front(&l->sends)) != NULL) {
            free(list_entry(pos, struct real_send, link));
        }
        free(l);
    }
    assert(core_closed(&d->core));
    core_free(&d->core);
}

void real_driver_describe(const struct real_driver *d, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, " core: now %" PRIu64 " ms, timer %" PRIu64 " ms, metadata asked for %d wanted %d;",
                                d->core.now_ns / (uint64_t)SIM_MS, d->deadline_ns / (uint64_t)SIM_MS, d->core.meta.refresh != NULL,
                                d->core.meta.wanted);

    list_for_each(pos, &d->core.conns)
    {
        const struct conn *conn = list_entry(pos, struct conn, link);
        n += n < size ? (size_t)snprintf(out + n, size - n, " %s lane %d state %d unanswered %u down %d;", conn->address, conn->lane,
                                         conn->state, conn->awaiting_count, conn->down_wanted)
                      : 0;
    }
}
