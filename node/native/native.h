/* The native protocol's front door: one frame in, one verb, one frame out. Knows nothing of sockets: a connection embeds a
 * session, gives it frames and sends what comes back.
 *
 * Hub thread. */
#ifndef CAIRN_NATIVE_H
#define CAIRN_NATIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "node/service/service.h"
#include "proto/native/frame.h"

#define NATIVE_REQUESTS_MAX 1024 /* under way on one connection: beyond it, it is read no further */

/* An answer on its way to the socket: the connection sends @iov in order, then calls @release. */
struct native_response {
    struct list link;
    struct buf *head;  /* frame header and message */
    struct iovec *iov; /* head first, then the payload's pieces */
    uint32_t n_iov;
    size_t bytes;
    struct service_fetch *fetch; /* holds the payload's entries; NULL without payload */
    struct iovec iov_inline[1];
};
void native_response_release(struct native_response *r);

struct native_session {
    struct service *service;
    struct request_context ctx;
    char client[64];
    /* Queue @r for sending. Called at any time while the session is open. */
    void (*send)(struct native_session *session, struct native_response *r);
    /* A session that was closed has no request under way any more: its owner may free it. */
    void (*idle)(struct native_session *session);
    uint32_t requests; /* under way */
    bool closed;
    struct list fetches; /* parked or under way */
};

void native_session_init(struct native_session *session, struct service *service, const char *listener);
/* Take one frame (its buf reference too). Errors: the connection is to be closed; @errmsg says why. */
int native_session_receive(struct native_session *session, struct frame *frame, char *errmsg) MUST_USE;
/* The connection is gone: nothing is sent any more, parked fetches end. True: no request is under way, free it now;
 * false: idle() will be called. */
bool native_session_close(struct native_session *session) MUST_USE;

#endif
