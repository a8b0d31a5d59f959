/* One connection: bytes to frames to the session, answers to one write a turn. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/conn/conn_internal.h"

void conn_wake(struct conn *conn)
{
    if (list_empty(&conn->dirty)) {
        list_push_back(&conn->conns->dirty, &conn->dirty);
        env_wake(conn->conns->env);
    }
}

/* ---- end ------------------------------------------------------------------------------------------------------------ */

static void drop_responses(struct list *responses)
{
    struct list *pos;
    while ((pos = list_pop_front(responses)) != NULL) {
        service_answer_release(list_entry(pos, struct service_answer, link));
    }
}

void conn_free(struct conn *conn)
{
    drop_responses(&conn->out);
    drop_responses(&conn->writing);
    list_remove(&conn->link);
    list_remove(&conn->dirty);
    list_remove(&conn->paused);
    conn->door->close(conn);
    free(conn);
}

static void maybe_free(struct conn *conn)
{
    struct conns *c = conn->conns;
    if (conn->socket_gone && conn->session_idle) {
        conn_free(conn);
        conns_ended(c);
    }
}

static void socket_closed(void *data)
{
    struct conn *conn = data;
    conn->socket_gone = true;
    maybe_free(conn);
}

void conn_session_idle(struct conn *conn)
{
    conn->session_idle = true;
    maybe_free(conn);
}

void conn_close(struct conn *conn, const char *reason)
{
    struct conns *c = conn->conns;
    char quoted[ERRMSG_SIZE];
    char client[ERRMSG_SIZE];

    if (conn->closed) {
        return;
    }
    conn->closed = true;
    if (reason != NULL) {
        log_event(c->env->logger, LOG_WARN, "client_closed", "peer=%s client=%s reason=%s",
                  env_conn_peer(c->env, conn->socket), log_quote(client, sizeof client, conn->client),
                  log_quote(quoted, sizeof quoted, reason));
    }
    list_remove(&conn->link);
    list_push_back(&c->ended, &conn->link);
    list_remove(&conn->dirty);
    list_remove(&conn->paused);
    c->stats.open--;
    c->ending++;
    conn->session_idle = conn->door->session_close(conn);
    env_conn_close(c->env, conn->socket, socket_closed, conn);
}

/* ---- in ------------------------------------------------------------------------------------------------------------- */

static bool over_budget(const struct conns *c)
{
    return buf_pool_bytes_out(c->params.pool) > c->params.memory_max_bytes;
}

/* Memory is short, and reading on would take some. Who stands inside a frame and has the room for it goes on: he holds that
 * room until the frame is whole, so many of them waiting for each other would wait for ever. */
static bool starved(const struct conn *conn)
{
    return over_budget(conn->conns) && !conn->door->has_room(conn);
}

/* Its own backlog: it sends more than it reads the answers of. */
static bool backlogged(const struct conn *conn)
{
    return *conn->out_bytes > CONN_OUT_MAX_BYTES || *conn->requests >= CONN_REQUESTS_MAX;
}

/* It is not read: for its backlog, or because a request waits for those before it. */
static bool stalled(const struct conn *conn)
{
    return backlogged(conn) || *conn->held;
}

/* Give the session what is complete, unless it has enough on its hands. */
static void feed_session(struct conn *conn)
{
    char reason[ERRMSG_SIZE] = "";
    int rv = 0;

    while (!conn->closed && rv == 0 && !backlogged(conn)) {
        rv = conn->door->next(conn, reason);
    }
    if (conn->closed) {
        return;
    }
    if (rv != 0 && rv != ERR_NOT_FOUND) {
        conn->conns->stats.malformed += rv == ERR_MALFORMED;
        conn_close(conn, reason);
        return;
    }
    if (!conn->door->partial(conn)) {
        conn->frame_ms = 0;
    } else if (conn->frame_ms == 0) {
        conn->frame_ms = conn->last_ms;
    }
}

static void on_alloc(struct env_conn *socket, void *data, uint8_t **base, size_t *len)
{
    struct conn *conn = data;
    int rv;

    *len = 0;
    feed_session(conn); /* frames that stood complete while there was a backlog come first */
    if (conn->closed) {
        return;
    }
    if (stalled(conn) || starved(conn)) {
        conn->reading = false;
        conn->conns->stats.paused++;
        if (list_empty(&conn->paused)) {
            list_push_back(&conn->conns->paused, &conn->paused);
        }
        env_wake(conn->conns->env);
        return;
    }
    rv = conn->door->alloc(conn, base, len);
    if (rv != 0) {
        *len = 0;
        conn_close(conn, "out of memory for its request");
    }
}

static void on_read(struct env_conn *socket, void *data, ssize_t n)
{
    struct conn *conn = data;

    if (n <= 0) {
        conn_close(conn, n == 0 && conn->door->partial(conn) ? "ended inside a frame" : NULL);
        return;
    }
    conn->last_ms = env_now_ms(conn->conns->env);
    conn->conns->stats.bytes_in += (uint64_t)n;
    conn->door->commit(conn, (size_t)n);
    feed_session(conn);
}

static const struct env_conn_callbacks conn_callbacks = {
    .alloc = on_alloc,
    .read = on_read,
};

/* ---- out ------------------------------------------------------------------------------------------------------------- */

void conn_send(struct conn *conn, struct service_answer *r)
{
    if (r == NULL) {
        conn->doomed = true;
    } else {
        *conn->out_bytes += r->bytes;
        list_push_back(&conn->out, &r->link);
    }
    conn_wake(conn);
}

static void written(struct env_write *write, int status)
{
    struct conn *conn = container_of(write, struct conn, write);
    struct list *pos;

    conn->write_busy = false;
    while ((pos = list_pop_front(&conn->writing)) != NULL) {
        struct service_answer *r = list_entry(pos, struct service_answer, link);
        if (r == conn->partial && status == 0) {
            list_push_front(&conn->out, &r->link);
            continue;
        }
        *conn->out_bytes -= r->bytes;
        conn->conns->stats.bytes_out += status == 0 ? r->bytes : 0;
        service_answer_release(r);
    }
    if (conn->closed) {
        return;
    }
    if (status != 0) {
        conn_close(conn, NULL);
        return;
    }
    conn->last_ms = env_now_ms(conn->conns->env);
    conn_wake(conn); /* more to send, or room to read again */
}

/* Gather the answers of this turn into one write. */
void conn_flush(struct conn *conn)
{
    uint32_t n = 0;
    struct list *pos;

    if (conn->write_busy || list_empty(&conn->out)) {
        return;
    }
    while (n < CONN_BATCH_IOV && (pos = list_pop_front(&conn->out)) != NULL) {
        struct service_answer *r = list_entry(pos, struct service_answer, link);
        uint32_t i = r == conn->partial ? conn->partial_iov : 0;
        while (i < r->n_iov && n < CONN_BATCH_IOV) {
            conn->iov[n++] = r->iov[i++];
        }
        list_push_back(&conn->writing, &r->link);
        conn->partial = i < r->n_iov ? r : NULL;
        conn->partial_iov = i;
    }
    conn->write_busy = true;
    env_conn_write(conn->conns->env, conn->socket, &conn->write, conn->iov, n);
}

/* ---- turns and time ---------------------------------------------------------------------------------------------------- */

static void go_on(struct conn *conn)
{
    if (conn->closed) {
        return;
    }
    if (conn->doomed) {
        conn_close(conn, conn->doom != NULL ? conn->doom : "out of memory for an answer");
        return;
    }
    feed_session(conn); /* frames that stood complete while there was a backlog */
    if (!conn->closed && !conn->reading && !stalled(conn) && !starved(conn)) {
        conn->reading = true;
        conn->last_ms = env_now_ms(conn->conns->env); /* that nothing came was not its doing */
        list_remove(&conn->paused);
        env_conn_read_start(conn->conns->env, conn->socket, &conn_callbacks, conn);
    }
}

void conn_turn(struct env_hook *hook)
{
    struct conns *c = container_of(hook, struct conns, hook);
    struct list dirty;
    struct list *pos;

    list_init(&dirty);
    list_splice_back(&dirty, &c->dirty);
    while ((pos = list_pop_front(&dirty)) != NULL) {
        struct conn *conn = list_entry(pos, struct conn, dirty);
        conn_flush(conn);
        go_on(conn);
    }
    if (!list_empty(&c->paused) && !over_budget(c)) {
        list_for_each_safe(at, &c->paused)
        {
            go_on(list_entry(at, struct conn, paused));
        }
    }
}

void conn_sweep(struct timer *timer)
{
    struct conns *c = container_of(timer, struct conns, sweep);
    uint64_t now_ms = env_now_ms(c->env);
    uint64_t stall_ms = over_budget(c) ? CONN_STALL_SHORT_TIMEOUT_MS : CONN_STALL_TIMEOUT_MS;
    list_for_each_safe(pos, &c->open)
    {
        struct conn *conn = list_entry(pos, struct conn, link);
        if (conn->frame_ms != 0 && conn->reading && !stalled(conn) && now_ms - conn->last_ms > stall_ms) {
            c->stats.timed_out++;
            conn_close(conn, "stands inside a frame without going on");
        } else if (c->params.idle_timeout_ms != 0 && (*conn->requests == 0 || conn->write_busy) &&
                   now_ms - conn->last_ms > c->params.idle_timeout_ms) {
            c->stats.timed_out++;
            conn_close(conn, conn->write_busy ? "does not take its answers" : "idle");
        } else if (conn->frame_ms == 0 && now_ms - conn->last_ms > CONN_TRIM_MS && conn->reading) {
            conn->door->trim(conn);
        }
    }
    /* The budget may have been freed by others than clients. */
    env_wake(c->env);
    env_timer_start(c->env, timer, CONN_SWEEP_MS);
}

/* Those that are closed and have requests under way count too: who comes again and again must not pile them up. */
static bool full(struct conns *c)
{
    bool is_full = c->stats.open + c->ending >= c->params.connections_max;
    if (is_full && !c->refusing) {
        log_event(c->env->logger, LOG_WARN, "clients_refused", "open=%u connections_max=%u", c->stats.open,
                  c->params.connections_max);
    }
    c->refusing = is_full;
    return is_full;
}

void conn_accept(struct env_listener *listener, void *data, struct env_conn *socket)
{
    struct conn_listener *l = data;
    struct conns *c = l->conns;
    struct conn *conn;

    c->stats.accepted++;
    if (c->service == NULL || full(c) || (conn = calloc(1, sizeof *conn)) == NULL) {
        c->stats.refused++;
        env_conn_close(c->env, socket, NULL, NULL);
        return;
    }
    conn->conns = c;
    conn->socket = socket;
    conn->last_ms = env_now_ms(c->env);
    conn->write.done = written;
    list_init(&conn->link);
    list_init(&conn->dirty);
    list_init(&conn->paused);
    list_init(&conn->out);
    list_init(&conn->writing);
    conn->door = l->door;
    conn->door->open(conn, l->name);
    list_push_back(&c->open, &conn->link);
    c->stats.open++;
    conn->reading = true;
    env_conn_read_start(c->env, socket, &conn_callbacks, conn);
}
