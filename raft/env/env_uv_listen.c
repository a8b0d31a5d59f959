/* Listening sockets. Accepting is done here and not by libuv, whose own way of running out of descriptors can spin. */
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raft/env/env_uv_impl.h"

struct env_listener {
    struct env_uv *e;
    struct list link;
    uv_poll_t poll;
    int fd; /* -1 once closed */
    env_accept_cb accept;
    void *data;
    struct timer pause; /* runs while there are no descriptors for new connections */
    bool starved;       /* already logged */
    char address[64];
};

static void on_readable(uv_poll_t *handle, int status, int events);

static void resume(struct timer *timer)
{
    struct env_listener *listener = container_of(timer, struct env_listener, pause);
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

/* Connections wait in the backlog for a while; polling on would spin, since they stay ready. */
static void pause_accept(struct env_listener *listener, int errnum)
{
    struct env_uv *e = listener->e;
    if (!listener->starved) {
        listener->starved = true;
        log_event(e->env.logger, LOG_WARN, "accept_paused", "address=%s errno=%d hint=raise_the_limit_of_open_files",
                  listener->address, errnum);
    }
    uv_poll_stop(&listener->poll);
    env_timer_start(&e->env, &listener->pause, ENV_UV_ACCEPT_PAUSE_MS);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct env_listener *listener = container_of(handle, struct env_listener, poll);
    for (int i = 0; i < ENV_UV_ACCEPT_BATCH_MAX && listener->fd >= 0; i++) {
        struct sockaddr_storage peer;
        struct env_conn *conn;
        socklen_t size = sizeof peer;
        int fd = accept4(listener->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                pause_accept(listener, errno);
                return;
            }
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                return;
            }
            continue; /* that connection died in the backlog */
        }
        listener->starved = false;
        if (env_uv_conn_adopt(listener->e, fd, (const struct sockaddr *)&peer, &conn) == 0) {
            listener->accept(listener, listener->data, conn); /* may close the listener */
        }
    }
}

/* Why it failed and what to do, in one line. */
static int listen_error(const char *address, int errnum, char *errmsg)
{
    switch (errnum) {
    case EADDRINUSE:
        snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: another program uses this port; stop it or choose another port",
                 address);
        return ERR_REFUSED;
    case EACCES:
    case EPERM:
        snprintf(errmsg, ERRMSG_SIZE,
                 "listen on %.100s: not permitted; choose a port above 1023 or grant CAP_NET_BIND_SERVICE", address);
        return ERR_REFUSED;
    case EADDRNOTAVAIL:
        snprintf(errmsg, ERRMSG_SIZE,
                 "listen on %.100s: no interface of this machine has this address; use one it has, or 0.0.0.0", address);
        return ERR_INVALID;
    case EMFILE:
    case ENFILE:
        snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: too many open files; raise the limit (ulimit -n)", address);
        return ERR_BUSY;
    default:
        snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: %s", address, uv_strerror(-errnum));
        return ERR_IO;
    }
}

/* Start-up only, so a name is resolved in place. */
static int resolve_here(const char *address, struct sockaddr_storage *out, char *errmsg)
{
    char host[ENV_ADDRESS_MAX];
    char port[6];
    int rv = env_uv_address_split(address, host, port);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE,
                 "listen on '%.100s': not of the form host:port; examples: 127.0.0.1:9092, [::1]:9092, 0.0.0.0:9092",
                 address);
        return rv;
    }
    if (env_uv_address_numeric(host, port, out) == 0) {
        return 0;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    rv = getaddrinfo(host, port, &hints, &found);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: cannot resolve the host (%s); use a name or number of this machine",
                 address, gai_strerror(rv));
        return ERR_INVALID;
    }
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

static int open_socket(const struct sockaddr *sa, int *out)
{
    int on = 1;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    /* Else a restarted node could not listen while old connections linger in TIME_WAIT. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, sa, env_uv_address_size(sa)) != 0 || listen(fd, ENV_UV_BACKLOG) != 0) {
        int errnum = errno;
        close(fd);
        return errnum;
    }
    *out = fd;
    return 0;
}

int env_uv_listen(struct env *env, const char *address, env_accept_cb accept, void *data, struct env_listener **out,
                  char *errmsg)
{
    struct env_uv *e = env_uv_of(env);
    struct sockaddr_storage sa;
    socklen_t size = sizeof sa;
    int rv = resolve_here(address, &sa, errmsg);
    if (rv != 0) {
        return rv;
    }
    struct env_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: out of memory", address);
        return ERR_NOMEM;
    }
    int errnum = open_socket((const struct sockaddr *)&sa, &listener->fd);
    if (errnum != 0) {
        free(listener);
        return listen_error(address, errnum, errmsg);
    }
    getsockname(listener->fd, (struct sockaddr *)&sa, &size);
    env_uv_address_format((const struct sockaddr *)&sa, listener->address, sizeof listener->address);
    rv = uv_poll_init(&e->loop, &listener->poll, listener->fd);
    if (rv != 0) {
        close(listener->fd);
        free(listener);
        return listen_error(address, -rv, errmsg);
    }
    listener->e = e;
    listener->accept = accept;
    listener->data = data;
    timer_init(&listener->pause, resume);
    list_push_back(&e->listeners, &listener->link);
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    *out = listener;
    return 0;
}

const char *env_uv_listener_address(struct env_listener *listener)
{
    return listener->address;
}

static void on_closed(uv_handle_t *handle)
{
    struct env_listener *listener = container_of(handle, struct env_listener, poll);
    list_remove(&listener->link);
    free(listener);
}

void env_uv_listener_close(struct env_listener *listener)
{
    assert(listener->fd >= 0);
    env_timer_stop(&listener->e->env, &listener->pause);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    close(listener->fd); /* libuv no longer uses it; the port is free at once */
    listener->fd = -1;
}

void env_uv_listeners_free(struct env_uv *e)
{
    struct list *node;
    while ((node = list_pop_front(&e->listeners)) != NULL) {
        struct env_listener *listener = list_entry(node, struct env_listener, link);
        timers_stop(&e->env.timers, &listener->pause);
        close(listener->fd);
        free(listener);
    }
}
