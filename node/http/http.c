#include "node/http/http.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "node/http/metrics.h"

#define STOPPING (1u << 31) /* in http.accepted */

struct http {
    struct http_params params;
    struct service *service; /* set before there is a daemon */
    int fd;                  /* listens; the daemon's once there is one */
    struct MHD_Daemon *daemon;
    char address[ENV_ADDRESS_MAX];
    /* Requests that were given to the hub since the start, and STOPPING. Once that is set nothing is given any more: so
     * the hub knows how many it has to answer. Both threads. */
    _Atomic uint32_t accepted;
    /* hub */
    uint32_t answered;
    uint32_t awaited; /* answered at its end; only while closing */
    bool closing;
    struct list collecting; /* struct http_collection */
    void (*closed)(void *data);
    void *closed_data;
};

/* One request. The library's thread makes and frees it; between the message and MHD_resume_connection() it is the
 * hub's. */
struct http_request {
    struct env_message message;
    struct http *http;
    struct MHD_Connection *connection;
    struct metrics_text text; /* the answer */
    bool complete;            /* false: there is none */
};

/* The hub's: what gathers an answer. It may outlive its request, where the node ends meanwhile. */
struct http_collection {
    struct metrics metrics;
    struct http_request *request; /* NULL: it was answered without */
    struct list link;             /* http.collecting, while there is a request */
};

static const char text_not_found[] = "only /metrics is here\n";
static const char text_method[] = "GET or HEAD, please\n";
static const char text_unavailable[] = "this node cannot answer now\n";

/* ---- hub -------------------------------------------------------------------------------------------------------- */

/* From here on the request is the other thread's again. */
static void answer(struct http_request *r)
{
    r->http->answered++;
    MHD_resume_connection(r->connection);
}

static void close_if_answered(struct http *h)
{
    void (*closed)(void *data) = h->closed;
    void *closed_data = h->closed_data;
    if (!h->closing || h->answered < h->awaited) {
        return;
    }
    MHD_stop_daemon(h->daemon); /* joins its thread, which waits for nothing of ours */
    free(h);
    closed(closed_data);
}

static void on_collected(struct metrics *m)
{
    struct http_collection *c = container_of(m, struct http_collection, metrics);
    struct http_request *r = c->request;
    if (r == NULL) {
        metrics_text_close(&m->text);
    } else {
        r->text = m->text;
        r->complete = m->complete;
        list_remove(&c->link);
        answer(r);
    }
    free(c);
}

static void on_message(struct env_message *message)
{
    struct http_request *r = container_of(message, struct http_request, message);
    struct http *h = r->http;
    struct http_collection *c = h->closing ? NULL : calloc(1, sizeof *c);
    if (c == NULL) {
        answer(r);
        close_if_answered(h);
        return;
    }
    c->request = r;
    list_push_back(&h->collecting, &c->link);
    c->metrics.service = h->service;
    c->metrics.more = h->params.more;
    c->metrics.more_data = h->params.more_data;
    c->metrics.done = on_collected;
    metrics_collect(&c->metrics);
}

void http_close(struct http *h, void (*closed)(void *data), void *data)
{
    struct list *pos;
    h->closed = closed;
    h->closed_data = data;
    h->closing = true;
    h->awaited = atomic_fetch_or(&h->accepted, STOPPING);
    while ((pos = list_pop_front(&h->collecting)) != NULL) {
        struct http_collection *c = list_entry(pos, struct http_collection, link);
        metrics_cancel(&c->metrics);
        answer(c->request);
        c->request = NULL;
    }
    close_if_answered(h);
}

/* ---- the library's thread --------------------------------------------------------------------------------------- */

/* Takes over @response; NULL: no memory, the connection is closed. */
static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response,
                               const char *type)
{
    enum MHD_Result rv = MHD_NO;
    if (response == NULL) {
        return MHD_NO;
    }
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
        (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
         MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES)) {
        rv = MHD_queue_response(connection, status, response);
    }
    MHD_destroy_response(response);
    return rv;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    return respond(connection, status, response, "text/plain; charset=utf-8");
}

static enum MHD_Result respond_metrics(struct http_request *r)
{
    struct metrics_text *t = &r->text;
    struct MHD_Response *response;
    if (!r->complete) {
        return respond_text(r->connection, MHD_HTTP_SERVICE_UNAVAILABLE, text_unavailable);
    }
    response = MHD_create_response_from_buffer(t->size, t->data, MHD_RESPMEM_MUST_FREE);
    if (response != NULL) {
        t->data = NULL; /* the response's now */
    }
    return respond(r->connection, MHD_HTTP_OK, response, "text/plain; version=0.0.4; charset=utf-8");
}

/* Give the request to the hub. */
static enum MHD_Result begin(struct http *h, struct MHD_Connection *connection, void **con_cls)
{
    struct http_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return MHD_NO;
    }
    if (atomic_fetch_add(&h->accepted, 1) & STOPPING) {
        free(r);
        return respond_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, text_unavailable);
    }
    r->http = h;
    r->connection = connection;
    r->message.run = on_message;
    *con_cls = r;
    MHD_suspend_connection(connection);
    env_post(h->params.env, &r->message);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload_data, size_t *upload_data_size,
                                  void **con_cls)
{
    struct http *h = cls;
    if (*con_cls != NULL) { /* resumed: the hub is through with it */
        return respond_metrics(*con_cls);
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, text_method);
    }
    if (strcmp(url, "/metrics") != 0) {
        return respond_text(connection, MHD_HTTP_NOT_FOUND, text_not_found);
    }
    return begin(h, connection, con_cls);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct http_request *r = *con_cls;
    if (r != NULL) {
        metrics_text_close(&r->text);
        free(r);
        *con_cls = NULL;
    }
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static int listen_at(const struct addrinfo *at, int *out)
{
    int one = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 || bind(fd, at->ai_addr, at->ai_addrlen) != 0 ||
        listen(fd, HTTP_CONNECTIONS_MAX) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return ERR_REFUSED;
    }
    *out = fd;
    return 0;
}

/* Keeps the host as it was written, with the port as bound. */
static void set_address(struct http *h, const char *asked)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound;
    socklen_t size = sizeof bound;
    memset(&bound, 0, sizeof bound);
    int rv = getsockname(h->fd, &bound.any, &size);
    assert(rv == 0);
    (void)rv;
    snprintf(h->address, sizeof h->address, "%.*s:%u", (int)(strrchr(asked, ':') - asked), asked,
             ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port));
}

/* "127.0.0.1:9404", "[::1]:9404", "localhost:0". */
static int resolve(const char *address, struct addrinfo **out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char host[ENV_ADDRESS_MAX];
    const char *colon = strrchr(address, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - address);
    if (length == 0 || length >= sizeof host) {
        return ERR_INVALID;
    }
    if (length > 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        length -= 2;
    }
    memcpy(host, address, length);
    host[length] = '\0';
    return getaddrinfo(host, colon + 1, &hints, out) == 0 ? 0 : ERR_INVALID;
}

int http_open(const struct http_params *params, struct http **out, char *errmsg)
{
    struct addrinfo *at;
    struct http *h;
    int rv = resolve(params->address, &at);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "http.listen = %.150s: there is no such address", params->address);
        return rv;
    }
    h = calloc(1, sizeof *h);
    if (h == NULL) {
        rv = ERR_NOMEM;
        snprintf(errmsg, ERRMSG_SIZE, "%s", err_text(rv));
        goto err;
    }
    h->params = *params;
    list_init(&h->collecting);
    rv = listen_at(at, &h->fd);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "http.listen = %.150s: %s", params->address, strerror(errno));
        goto err_after_calloc;
    }
    set_address(h, params->address);
    h->params.address = NULL;
    freeaddrinfo(at);
    *out = h;
    return 0;
err_after_calloc:
    free(h);
err:
    freeaddrinfo(at);
    return rv;
}

/* What the library says goes to the log, a line each. */
static void on_library_log(void *cls, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void on_library_log(void *cls, const char *format, va_list args)
{
    struct http *h = cls;
    char text[ERRMSG_SIZE];
    char quoted[2 * ERRMSG_SIZE];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\r\n")] = '\0';
    log_event(h->params.env->logger, LOG_DEBUG, "http", "text=%s", log_quote(quoted, sizeof quoted, text));
}

int http_serve(struct http *h, struct service *service)
{
    const unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    h->service = service;
    h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, h,
                                 MHD_OPTION_LISTEN_SOCKET, h->fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
                                 MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                                 HTTP_IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)HTTP_CONNECTION_MEMORY_BYTES, MHD_OPTION_END);
    return h->daemon == NULL ? ERR_NOMEM : 0;
}

void http_abandon(struct http *h)
{
    assert(h->daemon == NULL);
    close(h->fd);
    free(h);
}

const char *http_address(const struct http *h)
{
    return h->address;
}
