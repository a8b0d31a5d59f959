/* The HTTP front door: GET /metrics, for what scrapes and watches. libmicrohttpd speaks HTTP, on one thread of its own
 * that touches nothing of the node: a request crosses to the hub as a message and its connection is suspended until the
 * hub has the answer.
 *
 * Real environments only: the simulator has no such threads. Hub thread. */
#ifndef CAIRN_HTTP_H
#define CAIRN_HTTP_H

#include "node/http/metrics_text.h"
#include "node/service/service.h"

struct http;

#define HTTP_CONNECTIONS_MAX 64u
#define HTTP_IDLE_TIMEOUT_S 30u                  /* a connection that neither asks nor is being answered */
#define HTTP_CONNECTION_MEMORY_BYTES (16u << 10) /* request line and headers; beyond it the library refuses them */

struct http_params {
    struct env *env; /* the hub's */
    struct service *service;
    const char
        *address; /* host:port to listen on; the host is a number, or empty: every address. Port 0: any free one */
    void (*more)(void *data, struct metrics_text *text); /* families of other rooms; may be NULL */
    void *more_data;
};

/* Listen; nothing is answered yet, so that a busy port is known before anything else happens.
 * Errors with @errmsg: ERR_INVALID the address, ERR_REFUSED in use or not permitted, ERR_NOMEM. */
int http_open(const struct http_params *params, struct http **out, char *errmsg) MUST_USE;
/* From here on requests are answered. Errors: ERR_NOMEM (or no thread). */
int http_serve(struct http *h, struct service *service) MUST_USE;
void http_abandon(struct http *h);              /* it was never served */
const char *http_address(const struct http *h); /* as bound */
/* It was served. No more requests; those under way are refused, and what they gather is dropped: it ends
 * with the service. Then @closed runs, soon or inside the call, and @h is gone. */
void http_close(struct http *h, void (*closed)(void *data), void *data);

#endif
