/* Open connections: reading into the owner's memory, writing without a wake-up where the socket takes it, closing. */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raft/env/env_uv_impl.h"

#define REST_ON_STACK_MAX 64 /* iovecs of a write's rest that need no allocation */

/* Behind env_write.impl. */
struct write_impl {
    uv_write_t req;
    struct env_uv_deferred deferred;
    struct env_conn *conn;
    int status;
};

static_assert(sizeof(struct write_impl) <= sizeof(((struct env_write *)0)->impl), "env_write.impl is too small");
static_assert(sizeof(uv_buf_t) == sizeof(struct iovec) && offsetof(uv_buf_t, base) == offsetof(struct iovec, iov_base) &&
                  offsetof(uv_buf_t, len) == offsetof(struct iovec, iov_len),
              "uv_buf_t is an iovec by another name");

struct env_conn *env_uv_conn_new(struct env_uv *e)
{
    struct env_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return NULL;
    }
    conn->e = e;
    uv_tcp_init(&e->loop, &conn->tcp); /* makes no socket yet, cannot fail */
    list_push_back(&e->conns, &conn->link);
    return conn;
}

void env_uv_conn_opened(struct env_conn *conn, const struct sockaddr *peer)
{
    uv_tcp_nodelay(&conn->tcp, 1);
    env_uv_address_format(peer, conn->peer, sizeof conn->peer);
}

/* Takes @fd, also on failure. */
int env_uv_conn_adopt(struct env_uv *e, int fd, const struct sockaddr *peer, struct env_conn **out)
{
    struct env_conn *conn = env_uv_conn_new(e);
    if (conn == NULL) {
        close(fd);
        return ERR_NOMEM;
    }
    int rv = uv_tcp_open(&conn->tcp, fd);
    if (rv != 0) {
        close(fd);
        env_uv_conn_close(conn, NULL, NULL);
        return env_uv_err(rv);
    }
    env_uv_conn_opened(conn, peer);
    *out = conn;
    return 0;
}

/* ---- reading ---- */

static void on_closed(uv_handle_t *handle);

/* libuv calls the read callback right after this one, so nothing may stop reading in between. A close or stop inside the
 * owner's alloc is only noted; a buffer without room makes libuv come back with UV_ENOBUFS, where it is carried out. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct env_conn *conn = container_of(handle, struct env_conn, tcp);
    uint8_t *base = NULL;
    size_t len = 0;
    conn->in_alloc = true;
    conn->callbacks->alloc(conn, conn->data, &base, &len);
    conn->in_alloc = false;
    if (conn->closing || !conn->reading) {
        len = 0;
    }
    buf->base = (char *)base;
    buf->len = len;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct env_conn *conn = container_of(stream, struct env_conn, tcp);
    if (n == UV_ENOBUFS) { /* the owner has no room: a pause; or see on_alloc() */
        if (conn->closing) {
            uv_close((uv_handle_t *)&conn->tcp, on_closed);
        } else {
            conn->reading = false;
            uv_read_stop(stream);
        }
        return;
    }
    if (n == 0) {
        return;
    }
    if (n < 0) {
        env_uv_conn_read_stop(conn);
        conn->ended = true;
        n = n == UV_EOF ? 0 : -(ssize_t)env_uv_err((int)n);
    }
    conn->callbacks->read(conn, conn->data, n);
}

void env_uv_conn_read_start(struct env_conn *conn, const struct env_conn_callbacks *callbacks, void *data)
{
    assert(!conn->closing);
    conn->callbacks = callbacks;
    conn->data = data;
    if (conn->reading || conn->ended) {
        return;
    }
    conn->reading = true;
    if (!conn->in_alloc) {
        int rv = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
        assert(rv == 0); /* only a handle that is not open can refuse */
        (void)rv;
    }
}

void env_uv_conn_read_stop(struct env_conn *conn)
{
    if (conn->reading && !conn->in_alloc) {
        uv_read_stop((uv_stream_t *)&conn->tcp);
    }
    conn->reading = false;
}

/* ---- writing ---- */

static void run_write_done(struct env_uv_deferred *deferred)
{
    struct write_impl *impl = container_of(deferred, struct write_impl, deferred);
    struct env_write *write = container_of(impl, struct env_write, impl);
    write->done(write, impl->status);
}

/* All ends of writes take this way, whatever brought them: so they stay in order. */
static void finish_write(struct write_impl *impl, int status)
{
    impl->status = status;
    impl->deferred.run = run_write_done;
    env_uv_defer(impl->conn->e, &impl->deferred);
}

static void on_written(uv_write_t *req, int status)
{
    struct write_impl *impl = container_of(req, struct write_impl, req);
    if (status != 0 && impl->conn->broken == 0) {
        impl->conn->broken = env_uv_err(status);
    }
    finish_write(impl, status == 0 ? 0 : env_uv_err(status));
}

/* Hand what the socket did not take (from byte @skip on) to libuv, which waits until the socket is writable. */
static int write_rest(struct env_conn *conn, struct write_impl *impl, const struct iovec *iov, size_t n_iov, size_t skip)
{
    uv_buf_t stack[REST_ON_STACK_MAX];
    uv_buf_t *rest = stack;
    while (skip >= iov->iov_len) { /* ends: fewer than all bytes are skipped */
        skip -= iov->iov_len;
        iov++;
        n_iov--;
    }
    if (n_iov > REST_ON_STACK_MAX) {
        rest = malloc(n_iov * sizeof rest[0]);
        if (rest == NULL) {
            return ERR_NOMEM;
        }
    }
    memcpy(rest, iov, n_iov * sizeof rest[0]);
    rest[0].base += skip;
    rest[0].len -= skip;
    int rv = uv_write(&impl->req, (uv_stream_t *)&conn->tcp, rest, (unsigned)n_iov, on_written); /* copies @rest */
    if (rest != stack) {
        free(rest);
    }
    return rv == 0 ? 0 : env_uv_err(rv);
}

void env_uv_conn_write(struct env_conn *conn, struct env_write *write, const struct iovec *iov, size_t n_iov)
{
    struct write_impl *impl = (struct write_impl *)(void *)write->impl;
    size_t size = 0;
    size_t written = 0;
    int rv;
    impl->conn = conn;
    for (size_t i = 0; i < n_iov; i++) {
        size += iov[i].iov_len;
    }
    rv = conn->closing ? ERR_CLOSED : conn->broken;
    if (rv != 0 || size == 0) {
        finish_write(impl, rv);
        return;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) == 0) {
        const uv_buf_t *bufs = (const uv_buf_t *)(const void *)iov;
        rv = uv_try_write((uv_stream_t *)&conn->tcp, bufs, (unsigned)n_iov); /* takes ENV_IOV_MAX of them at most */
        if (rv > 0 && (size_t)rv == size) {
            finish_write(impl, 0);
            return;
        }
        if (rv < 0 && rv != UV_EAGAIN) {
            conn->broken = env_uv_err(rv);
            finish_write(impl, conn->broken);
            return;
        }
        written = rv < 0 ? 0 : (size_t)rv;
    }
    rv = write_rest(conn, impl, iov, n_iov, written);
    if (rv != 0) {
        conn->broken = rv; /* perhaps half a frame is out: nothing may follow it */
        finish_write(impl, rv);
    }
}

const char *env_uv_conn_peer(struct env_conn *conn)
{
    return conn->peer;
}

/* ---- closing ---- */

static void run_closed(struct env_uv_deferred *deferred)
{
    struct env_conn *conn = container_of(deferred, struct env_conn, closed_deferred);
    env_closed_cb closed = conn->closed;
    void *data = conn->closed_data;
    list_remove(&conn->link);
    free(conn);
    if (closed != NULL) {
        closed(data);
    }
}

/* libuv has cancelled the outstanding writes before this; they and earlier ones stand in front in the queue. */
static void on_closed(uv_handle_t *handle)
{
    struct env_conn *conn = container_of(handle, struct env_conn, tcp);
    if (conn->e->dead) {
        return; /* freed with the loop */
    }
    env_uv_defer(conn->e, &conn->closed_deferred);
}

void env_uv_conn_close(struct env_conn *conn, env_closed_cb cb, void *data)
{
    assert(!conn->closing);
    conn->closing = true;
    conn->reading = false;
    conn->closed = cb;
    conn->closed_data = data;
    conn->closed_deferred.run = run_closed;
    if (!conn->in_alloc) {
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
    }
}
