#include "node/http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "node/http/metrics.h"

#define STOPPING (1u << 31) /* in http.accepted */

struct http {
    struct http_params params;
    struct MHD_Daemon *daemon;
    char address[ENV_ADDRESS_MAX];
    /* Requests that were given to the hub since the start, and STOPPING. Once that is set nothing is given any more: so
     * the hub knows how many it has to answer. Both threads. */
    _Atomic uint32_t accepted;
    uint32_t answered; /* hub */
    uint32_t awaited;  /* hub: answered at its end; only while closing */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* One request. The library's thread makes and frees it; between the message and MHD_resume_connection() it is the
 * hub's. */
struct http_request {
    struct env_message message;
    struct http *http;
    struct MHD_Connection *connection;
    struct metrics metrics;
};

static const char text_not_found[] = "only /metrics is here\n";
static const char text_method[] = "GET or HEAD, please\n";
static const char text_unavailable[] = "this node cannot answer now\n";

/* ---- hub -------------------------------------------------------------------------------------------------------- */

static void close_daemon(struct http *h)
{
    void (*closed)(void *data) = h->closed;
    void *closed_data = h->closed_data;
    MHD_stop_daemon(h->daemon); /* joins its thread, which waits for nothing of ours */
    free(h);
    closed(closed_data);
}

static void on_collected(struct metrics *m)
{
    struct http_request *r = container_of(m, struct http_request, metrics);
    struct http *h = r->http;
    MHD_resume_connection(r->connection); /* from here on the request is the other thread's again */
    h->answered++;
    if (h->closing && h->answered == h->awaited) {
        close_daemon(h);
    }
}

static void on_message(struct env_message *message)
{
    struct http_request *r = container_of(message, struct http_request, message);
    r->metrics.service = r->http->params.service;
    r->metrics.more = r->http->params.more;
    r->metrics.more_data = r->http->params.more_data;
    r->metrics.done = on_collected;
    metrics_collect(&r->metrics);
}

void http_close(struct http *h, void (*closed)(void *data), void *data)
{
    h->closed = closed;
    h->closed_data = data;
    h->closing = true;
    h->awaited = atomic_fetch_or(&h->accepted, STOPPING);
    if (h->answered == h->awaited) {
        close_daemon(h);
    }
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
    struct metrics_text *t = &r->metrics.text;
    struct MHD_Response *response;
    if (!r->metrics.complete) {
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
        metrics_text_close(&r->metrics.text);
        free(r);
        *con_cls = NULL;
    }
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* "127.0.0.1:9404", "[::1]:9404", ":9404". */
static int parse_address(const char *text, union any_address *out)
{
    char host[ENV_ADDRESS_MAX];
    const char *colon = strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    char *end;
    unsigned long port;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9' || length >= sizeof host) {
        return ERR_INVALID;
    }
    port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port > UINT16_MAX) {
        return ERR_INVALID;
    }
    memset(out, 0, sizeof *out);
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        memcpy(host, text + 1, length - 2);
        host[length - 2] = '\0';
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1 ? 0 : ERR_INVALID;
    }
    memcpy(host, text, length);
    host[length] = '\0';
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons((uint16_t)port);
    if (length == 0) {
        return 0; /* INADDR_ANY */
    }
    return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &out->v4.sin_addr) == 1
               ? 0
               : ERR_INVALID;
}

static void set_address(struct http *h)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    const char *colon = strrchr(h->params.address, ':');
    snprintf(h->address, sizeof h->address, "%.*s:%u", (int)(colon - h->params.address), h->params.address,
             info == NULL ? 0 : info->port);
}

/* What the library says goes to the log, a line each; at most what a stranger's odd requests are worth. */
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

int http_open(const struct http_params *params, struct http **out, char *errmsg)
{
    union any_address address;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct http *h;
    int rv = parse_address(params->address, &address);
    if (rv != 0) {
        snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: not host:port with a numeric host", params->address);
        return rv;
    }
    h = calloc(1, sizeof *h);
    if (h == NULL) {
        snprintf(errmsg, ERRMSG_SIZE, "%s", err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    h->params = *params;
    if (address.any.sa_family == AF_INET6) {
        flags |= MHD_USE_IPv6;
    }
    errno = 0;
    h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, h,
                                 MHD_OPTION_SOCK_ADDR, &address.any, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
                                 MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                                 HTTP_IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)HTTP_CONNECTION_MEMORY_BYTES, MHD_OPTION_END);
    if (h->daemon == NULL) {
        snprintf(errmsg, ERRMSG_SIZE, "listen on %.100s: %s", params->address,
                 errno == 0 ? "not possible" : strerror(errno));
        free(h);
        return ERR_REFUSED;
    }
    set_address(h);
    *out = h;
    return 0;
}

const char *http_address(const struct http *h)
{
    return h->address;
}
