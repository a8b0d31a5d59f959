/* Kafka's front door: one request in, one verb, one response out, in the order of the requests. Knows nothing of
 * sockets: a connection embeds a session, gives it frames and sends what comes back.
 *
 * Hub thread. */
#ifndef CAIRN_NODE_KAFKA_H
#define CAIRN_NODE_KAFKA_H

#include "node/fsm/group/coordinator.h"
#include "node/kafka/kafka_reader.h"
#include "node/service/service_answer.h"

#define KAFKA_REQUEST_MAX_BYTES (100u << 20) /* a request: Kafka's own socket.request.max.bytes */
#define KAFKA_OUT_MAX_BYTES                                                                                            \
    (16u << 20)                            /* answers queued for a client that does not read: beyond it, what it still \
                                            * fetches is answered without records */
#define KAFKA_ANSWER_MAX_BYTES (64u << 20) /* what the arrays of one response may take in memory */
#define KAFKA_COPY_MAX_BYTES                                                                                           \
    (16u << 10)                  /* a smaller request that does not append is copied, so that one that parks           \
                                  * does not pin a receive buffer */
#define KAFKA_PARTS_MAX 20000u   /* partitions in one request */
#define KAFKA_TOPICS_MAX 1000    /* topics or resources changed by one request */
#define KAFKA_AUTO_CREATE_MAX 64 /* topics created by one Metadata request; the others by the next one */

/* What an operator has decided; borrowed by every session. */
struct kafka_settings {
    bool auto_create_topics;
    uint32_t default_partitions;
    uint32_t default_replication;
    uint32_t connections_max;
    uint32_t idle_timeout_ms;
    char data_dir[ENV_PATH_MAX];
    struct coordinator_config groups;
};

struct kafka_session {
    struct service *service;
    const struct kafka_settings *settings;
    struct request_context ctx;
    const char *peer;    /* address of the client; borrowed */
    char end_reason[80]; /* of send(NULL) */
    char client[64];
    /* Queue @a for sending. Called at any time while the session is open. NULL: there was no memory for an answer, or
     * none that its client could understand; the connection is to be closed, soon but not inside the call. */
    void (*send)(struct kafka_session *session, struct service_answer *a);
    /* A request that waited for others may begin now: call kafka_session_resume(), soon but not inside the call. */
    void (*wake)(struct kafka_session *session);
    /* A session that was closed has no request under way any more: its owner may free it. */
    void (*idle)(struct kafka_session *session);
    uint32_t requests; /* under way */
    uint32_t produces; /* of them */
    uint32_t changes;  /* of them, others that change something */
    bool closed;
    bool is_held; /* @held waits for those before it: no further frame is taken */
    struct kafka_frame held;
    bool bare_tokens;      /* after SaslHandshake 0 */
    size_t waiting_bytes;  /* of answers that wait for those before them */
    size_t out_bytes;      /* of answers that the socket has not taken; kept by the connection */
    struct list under_way; /* struct kafka_request, in the order of their frames */
    struct list fetches;   /* struct service_fetch: parked or under way */
};

void kafka_session_init(struct kafka_session *session, struct service *service, const struct kafka_settings *settings,
                        const char *listener);
/* Begin what waits, if it may. Errors: ERR_NOT_FOUND nothing waits, or it goes on waiting; else as receive. */
int kafka_session_resume(struct kafka_session *session, char *errmsg) MUST_USE;
/* Take one frame (its buf reference too); not while is_held. Errors: the connection is to be closed; @errmsg says why.
 */
int kafka_session_receive(struct kafka_session *session, struct kafka_frame *frame, char *errmsg) MUST_USE;
/* The connection is gone: nothing is sent any more, parked fetches end. True: no request is under way, free it now;
 * false: idle() will be called. */
bool kafka_session_close(struct kafka_session *session) MUST_USE;
/* Frees what requests hold, without answers: the node is gone (simulation). After service_abandon(). */
void kafka_session_abandon(struct kafka_session *session);

#endif
