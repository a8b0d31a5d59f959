#include "client/src/driver_uv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/conn.h"

/* One connection's libuv side. Lives until its handle is closed. */
struct uv_conn {
    struct driver *driver;
    struct conn *conn;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    struct addrinfo *addresses; /* of a name */
    struct addrinfo *address;   /* tried now */
    bool resolving;             /* the handle is not yet made */
    bool closing;
    int uv_err; /* why it ended */
};

struct uv_send {
    uv_write_t write;
    struct uv_conn *uc;
};

_Static_assert(sizeof(uv_buf_t) == sizeof(struct iovec), "libuv writes with writev");
_Static_assert(offsetof(uv_buf_t, base) == offsetof(struct iovec, iov_base), "libuv writes with writev");

static void on_connect(uv_connect_t *req, int status);

uint64_t driver_now_ns(void)
{
    return uv_hrtime();
}

static int err_from_uv(int uv_err)
{
    switch (uv_err) {
    case 0:
        return 0;
    case UV_ENOMEM:
        return ERR_NOMEM;
    case UV_EOF:
    case UV_ECONNRESET:
    case UV_EPIPE:
    case UV_ECANCELED:
        return ERR_CLOSED;
    case UV_ECONNREFUSED:
        return ERR_REFUSED;
    case UV_ETIMEDOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}

/* Tell the core, at last. */
static void conn_gone(struct uv_conn *uc)
{
    core_conn_down(uc->conn, driver_now_ns(), uc->uv_err != 0 ? err_from_uv(uc->uv_err) : ERR_CLOSED,
                   uc->uv_err != 0 ? uv_strerror(uc->uv_err) : NULL);
    uv_freeaddrinfo(uc->addresses);
    free(uc);
}

static void on_close(uv_handle_t *handle)
{
    conn_gone(handle->data);
}

static void conn_close(struct uv_conn *uc, int uv_err)
{
    if (uc->closing) {
        return;
    }
    uc->closing = true;
    uc->uv_err = uv_err;
    if (uc->resolving) {
        uv_cancel((uv_req_t *)&uc->resolve); /* its callback ends it, cancelled or not */
        return;
    }
    uv_close((uv_handle_t *)&uc->tcp, on_close);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct uv_conn *uc = handle->data;
    uint8_t *base;
    size_t length;

    if (uc->closing || core_conn_read_alloc(uc->conn, &base, &length) != 0) {
        *buf = uv_buf_init(NULL, 0); /* read gives UV_ENOBUFS */
        return;
    }
    *buf = uv_buf_init((char *)base, length < INT32_MAX ? (unsigned)length : INT32_MAX);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct uv_conn *uc = stream->data;

    if (n < 0) {
        conn_close(uc, (int)n);
    } else if (n > 0 && !uc->closing) {
        core_conn_read_commit(uc->conn, (size_t)n, driver_now_ns());
    }
}

static void on_write(uv_write_t *req, int status)
{
    struct uv_send *send = (struct uv_send *)(void *)req;
    struct uv_conn *uc = send->uc;

    if (status == 0) {
        core_conn_sent(uc->conn);
    } else {
        conn_close(uc, status);
    }
    free(send);
}

static void try_next_address(struct uv_conn *uc, int uv_err)
{
    struct sockaddr *address;

    while (uc->address != NULL) {
        address = uc->address->ai_addr;
        uc->address = uc->address->ai_next;
        uv_err = uv_tcp_connect(&uc->connect, &uc->tcp, address, on_connect);
        if (uv_err == 0) {
            return;
        }
    }
    conn_close(uc, uv_err);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct uv_conn *uc = req->data;
    int rv;

    if (uc->closing) {
        return;
    }
    if (status != 0) {
        conn_close(uc, status);
        return;
    }
    uv_tcp_nodelay(&uc->tcp, 1);
    rv = uv_read_start((uv_stream_t *)&uc->tcp, on_alloc, on_read);
    if (rv != 0) {
        conn_close(uc, rv);
        return;
    }
    core_conn_up(uc->conn, driver_now_ns());
}

static void conn_init_handle(struct uv_conn *uc)
{
    int rv = uv_tcp_init(&uc->driver->loop, &uc->tcp);

    assert(rv == 0); /* cannot fail without flags */
    (void)rv;
    uc->tcp.data = uc;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
    struct uv_conn *uc = req->data;

    uc->resolving = false;
    uc->addresses = addresses;
    if (uc->closing) {
        conn_gone(uc);
        return;
    }
    conn_init_handle(uc);
    uc->address = addresses;
    try_next_address(uc, status != 0 ? status : UV_EAI_NODATA);
}

/* HOST:PORT or [V6]:PORT. False: neither. */
static bool split_address(const char *text, char *host, size_t host_size, char *port, size_t port_size)
{
    const char *colon = strrchr(text, ':');
    size_t length;

    if (colon == NULL || colon == text || colon[1] == '\0' || strlen(colon + 1) >= port_size) {
        return false;
    }
    length = (size_t)(colon - text);
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        length -= 2;
    }
    if (length == 0 || length >= host_size) {
        return false;
    }
    memcpy(host, text, length);
    host[length] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

static int driver_connect(struct client_io *io, struct conn *conn, const char *address)
{
    struct driver *d = container_of(io, struct driver, io);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char host[CLIENT_ADDRESS_SIZE];
    char port[8];
    struct sockaddr_storage numeric;
    struct uv_conn *uc;
    int rv;

    if (!split_address(address, host, sizeof host, port, sizeof port)) {
        return ERR_INVALID;
    }
    uc = calloc(1, sizeof *uc);
    if (uc == NULL) {
        return ERR_NOMEM;
    }
    uc->driver = d;
    uc->conn = conn;
    uc->connect.data = uc;
    uc->resolve.data = uc;
    if (uv_ip4_addr(host, atoi(port), (struct sockaddr_in *)&numeric) == 0 ||
        uv_ip6_addr(host, atoi(port), (struct sockaddr_in6 *)&numeric) == 0) {
        conn_init_handle(uc);
        core_conn_set_driver(conn, uc);
        rv = uv_tcp_connect(&uc->connect, &uc->tcp, (struct sockaddr *)&numeric, on_connect);
        if (rv != 0) {
            conn_close(uc, rv);
        }
        return 0;
    }
    uc->resolving = true;
    rv = uv_getaddrinfo(&d->loop, &uc->resolve, on_resolved, host, port, &hints);
    if (rv != 0) {
        free(uc);
        return err_from_uv(rv);
    }
    core_conn_set_driver(conn, uc);
    return 0;
}

static void driver_send(struct client_io *io, struct conn *conn, const struct iovec *iov, unsigned count)
{
    struct uv_conn *uc = core_conn_driver(conn);
    struct uv_send *send;
    int rv = UV_ENOMEM;

    if (uc->closing) {
        return; /* core_conn_down() settles it */
    }
    send = malloc(sizeof *send);
    if (send != NULL) {
        send->uc = uc;
        rv = uv_write(&send->write, (uv_stream_t *)&uc->tcp, (const uv_buf_t *)(const void *)iov, count, on_write);
    }
    if (rv != 0) {
        free(send);
        conn_close(uc, rv);
    }
}

static void driver_close(struct client_io *io, struct conn *conn)
{
    conn_close(core_conn_driver(conn), 0);
}

static void driver_timer(struct client_io *io, uint64_t deadline_ns)
{
    container_of(io, struct driver, io)->deadline_ns = deadline_ns;
}

static void on_timer(uv_timer_t *timer)
{
    struct driver *d = timer->data;

    d->armed_ns = UINT64_MAX;
}

static void on_async(uv_async_t *async)
{
    /* the turn is taken by on_prepare */
}

static void run_tasks(struct driver *d)
{
    struct list tasks;

    list_init(&tasks);
    uv_mutex_lock(&d->mutex);
    list_splice_back(&tasks, &d->tasks);
    uv_mutex_unlock(&d->mutex);
    if (list_empty(&tasks)) {
        return;
    }
    list_for_each (pos, &tasks) {
        struct driver_task *task = list_entry(pos, struct driver_task, link);
        task->run(&d->core, task->arg);
    }
    uv_mutex_lock(&d->mutex);
    while (!list_empty(&tasks)) {
        list_entry(list_pop_front(&tasks), struct driver_task, link)->done = true;
    }
    uv_cond_broadcast(&d->ran);
    uv_mutex_unlock(&d->mutex);
}

static void arm_timer(struct driver *d, uint64_t now_ns)
{
    uint64_t ms;

    if (d->deadline_ns == d->armed_ns) {
        return;
    }
    d->armed_ns = d->deadline_ns;
    if (d->deadline_ns == UINT64_MAX) {
        uv_timer_stop(&d->timer);
        return;
    }
    ms = d->deadline_ns > now_ns ? (d->deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
    uv_update_time(&d->loop);
    uv_timer_start(&d->timer, on_timer, ms, 0);
}

/* Just before the loop sleeps: one turn for all that happened in this round. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct driver *d = prepare->data;
    uint64_t now_ns;
    bool stopping;

    d->core.now_ns = driver_now_ns();
    run_tasks(d);
    uv_mutex_lock(&d->mutex);
    stopping = d->stopping;
    uv_mutex_unlock(&d->mutex);
    now_ns = driver_now_ns();
    if (stopping) {
        core_shutdown(&d->core);
        if (core_closed(&d->core)) {
            uv_close((uv_handle_t *)&d->async, NULL);
            uv_close((uv_handle_t *)&d->prepare, NULL);
            uv_close((uv_handle_t *)&d->timer, NULL);
        }
        return;
    }
    core_turn(&d->core, now_ns);
    arm_timer(d, now_ns);
}

static void loop_main(void *arg)
{
    struct driver *d = arg;

    uv_run(&d->loop, UV_RUN_DEFAULT);
}

int driver_start(struct driver *d, const struct core_config *config)
{
    uint64_t seed = driver_now_ns();
    int rv;

    memset(d, 0, sizeof *d);
    d->io.connect = driver_connect;
    d->io.send = driver_send;
    d->io.close = driver_close;
    d->io.timer = driver_timer;
    d->deadline_ns = UINT64_MAX;
    d->armed_ns = UINT64_MAX;
    list_init(&d->tasks);
    (void)uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL);
    rv = core_init(&d->core, &d->io, config, seed);
    if (rv != 0) {
        return rv;
    }
    rv = ERR_NOMEM;
    if (uv_loop_init(&d->loop) != 0) {
        goto err_after_core;
    }
    if (uv_mutex_init(&d->mutex) != 0) {
        goto err_after_loop;
    }
    if (uv_cond_init(&d->ran) != 0) {
        goto err_after_mutex;
    }
    if (uv_async_init(&d->loop, &d->async, on_async) != 0) {
        goto err_after_cond;
    }
    uv_prepare_init(&d->loop, &d->prepare);
    uv_timer_init(&d->loop, &d->timer);
    d->prepare.data = d;
    d->timer.data = d;
    uv_prepare_start(&d->prepare, on_prepare);
    if (uv_thread_create(&d->thread, loop_main, d) != 0) {
        uv_close((uv_handle_t *)&d->async, NULL);
        uv_close((uv_handle_t *)&d->prepare, NULL);
        uv_close((uv_handle_t *)&d->timer, NULL);
        uv_run(&d->loop, UV_RUN_DEFAULT);
        goto err_after_cond;
    }
    return 0;

err_after_cond:
    uv_cond_destroy(&d->ran);
err_after_mutex:
    uv_mutex_destroy(&d->mutex);
err_after_loop:
    uv_loop_close(&d->loop);
err_after_core:
    core_free(&d->core);
    return rv;
}

void driver_stop(struct driver *d)
{
    int rv;

    uv_mutex_lock(&d->mutex);
    d->stopping = true;
    uv_mutex_unlock(&d->mutex);
    driver_wake(d);
    uv_thread_join(&d->thread);
    rv = uv_loop_close(&d->loop);
    assert(rv == 0);
    (void)rv;
    core_free(&d->core);
    uv_cond_destroy(&d->ran);
    uv_mutex_destroy(&d->mutex);
}

void driver_wake(struct driver *d)
{
    uv_async_send(&d->async);
}

bool driver_on_loop(struct driver *d)
{
    uv_thread_t self = uv_thread_self();

    return uv_thread_equal(&self, &d->thread) != 0;
}

void driver_run(struct driver *d, void (*run)(struct core *core, void *arg), void *arg)
{
    struct driver_task task = {.run = run, .arg = arg};

    if (driver_on_loop(d)) {
        run(&d->core, arg);
        return;
    }
    uv_mutex_lock(&d->mutex);
    list_push_back(&d->tasks, &task.link);
    driver_wake(d);
    while (!task.done) {
        uv_cond_wait(&d->ran, &d->mutex);
    }
    uv_mutex_unlock(&d->mutex);
}
