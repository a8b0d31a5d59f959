/* The native protocol's front door: one frame in, one verb, one frame out. Knows nothing of sockets: a connection embeds a
 * session, gives it frames and sends what comes back.
 *
 * Hub thread. */
#ifndef CAIRN_NATIVE_H
#define CAIRN_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/service/service_answer.h"
#include "proto/native/frame.h"

#define NATIVE_REQUESTS_MAX 1024 /* under way on one connection: beyond it, it is read no further */
#define NATIVE_OUT_MAX_BYTES (16u << 20)     /* answers queued for a client that does not read: beyond it, it is read no
                                              * further, and what it still fetches is answered without records */
#define NATIVE_PAYLOAD_MAX_BYTES (32u << 20) /* raw bytes of one request */
#define NATIVE_TOPICS_MAX 4096               /* topics named in one request */

struct native_session {
    struct service *service;
    struct request_context ctx;
    const char *peer; /* address of the client, while it is connected; "" where there is none. Borrowed */
    char client[64];
    /* Queue @r for sending. Called at any time while the session is open. NULL: there was no memory for an answer; the
     * connection is to be closed, soon but not inside the call. */
    void (*send)(struct native_session *session, struct service_answer *r);
    /* A session that was closed has no request under way any more: its owner may free it. */
    void (*idle)(struct native_session *session);
    uint32_t requests; /* under way */
    bool closed;
    size_t out_bytes;  /* of answers that the socket has not taken; kept by the connection */
    struct list under_way; /* struct native_request */
    struct list fetches;   /* struct service_fetch: parked or under way */
};

void native_session_init(struct native_session *session, struct service *service, const char *listener);
/* Take one frame (its buf reference too). Errors: the connection is to be closed; @errmsg says why. */
int native_session_receive(struct native_session *session, struct frame *frame, char *errmsg) MUST_USE;
/* The connection is gone: nothing is sent any more, parked fetches end. True: no request is under way, free it now;
 * false: idle() will be called. */
bool native_session_close(struct native_session *session) MUST_USE;
/* Frees what requests hold, without answers: the node is gone (simulation). After service_abandon(). */
void native_session_abandon(struct native_session *session);

#endif
