/* Making connections: numbers at once, names through the resolver, one address after the other, with a time limit. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "raft/env/env_uv_impl.h"

/* One call of env_connect(). It ends when its callback has run and neither the resolver nor a socket is in use. */
struct connect {
    struct env_uv *e;
    struct list link;
    env_connect_cb cb; /* NULL once it has run */
    void *data;
    struct timer timeout;
    bool timed_out;
    bool resolving;
    uv_getaddrinfo_t resolve;
    struct addrinfo *found; /* of the resolver; NULL for a numeric address */
    struct addrinfo *next;  /* to be tried next */
    struct sockaddr_storage address; /* being tried */
    uv_connect_t req;
    struct env_conn *conn; /* being tried */
    int status;            /* of the last attempt */
    struct env_uv_deferred deferred; /* for failures inside the call */
};

static void connect_free(struct connect *c)
{
    timers_stop(&c->e->env.timers, &c->timeout);
    if (c->found != NULL) {
        uv_freeaddrinfo(c->found);
    }
    list_remove(&c->link);
    free(c);
}

static void report(struct connect *c, int status, struct env_conn *conn)
{
    env_connect_cb cb = c->cb;
    struct env *env = &c->e->env;
    void *data = c->data;
    c->cb = NULL;
    if (!c->resolving) {
        connect_free(c);
    }
    cb(env, data, status, conn);
}

static void try_next(struct connect *c);

static void on_connected(uv_connect_t *req, int status)
{
    struct connect *c = container_of(req, struct connect, req);
    struct env_conn *conn = c->conn;
    if (c->e->dead) {
        return; /* freed with the loop */
    }
    c->conn = NULL;
    if (status == 0) {
        env_uv_conn_opened(conn, (const struct sockaddr *)&c->address);
        report(c, 0, conn);
        return;
    }
    if (!conn->closing) {
        env_uv_conn_close(conn, NULL, NULL);
    }
    if (c->timed_out) {
        report(c, ERR_TIMEOUT, NULL);
        return;
    }
    c->status = env_uv_err(status);
    try_next(c);
}

/* 0: under way. */
static int try_address(struct connect *c, const struct sockaddr *sa)
{
    memcpy(&c->address, sa, env_uv_address_size(sa));
    c->conn = env_uv_conn_new(c->e);
    if (c->conn == NULL) {
        return ERR_NOMEM;
    }
    int rv = uv_tcp_connect(&c->req, &c->conn->tcp, (const struct sockaddr *)&c->address, on_connected);
    if (rv != 0) {
        env_uv_conn_close(c->conn, NULL, NULL);
        c->conn = NULL;
        return env_uv_err(rv);
    }
    return 0;
}

/* Never called from env_connect() itself, so it may report. */
static void try_next(struct connect *c)
{
    while (c->next != NULL) {
        const struct addrinfo *ai = c->next;
        c->next = ai->ai_next;
        c->status = try_address(c, ai->ai_addr);
        if (c->status == 0) {
            return;
        }
    }
    report(c, c->status, NULL);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct connect *c = container_of(req, struct connect, resolve);
    c->resolving = false;
    c->found = found;
    if (c->e->dead) {
        return; /* freed with the loop */
    }
    if (c->cb == NULL) { /* timed out meanwhile */
        connect_free(c);
        return;
    }
    c->next = found;
    c->status = status == 0 ? ERR_NOT_FOUND : env_uv_err(status);
    try_next(c);
}

static void on_timeout(struct timer *timer)
{
    struct connect *c = container_of(timer, struct connect, timeout);
    c->timed_out = true;
    if (c->conn != NULL) {
        env_uv_conn_close(c->conn, NULL, NULL); /* on_connected() reports */
        return;
    }
    (void)uv_cancel((uv_req_t *)&c->resolve); /* on_resolved() comes in any case, soon or later */
    report(c, ERR_TIMEOUT, NULL);
}

static void run_failed(struct env_uv_deferred *deferred)
{
    struct connect *c = container_of(deferred, struct connect, deferred);
    report(c, c->status, NULL);
}

/* An error of starting is reported by the callback, as any other failure to connect. */
static int connect_start(struct connect *c, const char *host, const char *port)
{
    struct sockaddr_storage numeric;
    if (env_uv_address_numeric(host, port, &numeric) == 0) {
        return try_address(c, (const struct sockaddr *)&numeric);
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int rv = uv_getaddrinfo(&c->e->loop, &c->resolve, on_resolved, host, port, &hints);
    if (rv != 0) {
        return env_uv_err(rv);
    }
    c->resolving = true;
    return 0;
}

int env_uv_connect(struct env *env, const char *address, env_connect_cb cb, void *data)
{
    struct env_uv *e = env_uv_of(env);
    char host[ENV_ADDRESS_MAX];
    char port[6];
    int rv = env_uv_address_split(address, host, port);
    if (rv != 0) {
        return rv;
    }
    struct connect *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->e = e;
    c->cb = cb;
    c->data = data;
    timer_init(&c->timeout, on_timeout);
    list_push_back(&e->connects, &c->link);
    c->status = connect_start(c, host, port);
    if (c->status != 0) {
        c->deferred.run = run_failed;
        env_uv_defer(e, &c->deferred);
        return 0;
    }
    env_timer_start(env, &c->timeout, ENV_CONNECT_TIMEOUT_MS);
    return 0;
}

void env_uv_connects_cancel(struct env_uv *e)
{
    list_for_each(node, &e->connects) {
        struct connect *c = list_entry(node, struct connect, link);
        if (c->resolving) {
            (void)uv_cancel((uv_req_t *)&c->resolve);
        }
    }
}

void env_uv_connects_free(struct env_uv *e)
{
    while (!list_empty(&e->connects)) {
        connect_free(list_entry(e->connects.next, struct connect, link));
    }
}
