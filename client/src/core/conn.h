/* One connection: greets, then carries requests, pipelined, and matches their answers. */
#ifndef CAIRN_CLIENT_CONN_H
#define CAIRN_CLIENT_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "client/src/core/core.h"
#include "proto/base/list.h"
#include "proto/native/calls.h"
#include "proto/native/frame.h"

/* A request on its way. Its maker embeds nothing: it gets @done once (with the answer, or without when the connection
 * went down), then the request is freed when the driver no longer needs its bytes. */
struct request {
    struct list send_link;  /* conn->queued, conn->sending */
    struct list await_link; /* conn->awaiting */
    struct conn *conn;
    uint32_t correlation;
    uint16_t call;
    bool awaiting;
    bool sending; /* queued, or with the driver */
    bool last_of_send;
    bool patient; /* a long poll: silence is no sign of trouble */
    uint64_t sent_ns;
    uint64_t timeout_ns;
    uint64_t deadline_ns; /* timeout_ns behind its sending, or behind the last bytes of an answer that is coming in */
    uint32_t payload_count;
    struct iovec *payload; /* in the same memory */
    size_t payload_size;
    uint8_t *head; /* frame header and message, in the same memory */
    size_t head_size;
    /* @frame NULL: there will be no answer, @status tells why (the request may have been carried out). Otherwise
     * @status is the frame's. @frame is valid during the call; keep frame->buf by reference. */
    void (*done)(struct request *r, int status, const struct frame *frame);
    /* The bytes of the payload are no longer read. Called last, also when @done was never due. May be NULL. */
    void (*release)(struct request *r);
    void *owner;
    void *extra; /* of extra_size bytes, zeroed, in the same memory */
};

enum conn_state { CONN_CONNECTING, CONN_GREETING, CONN_READY, CONN_CLOSING };

struct conn {
    struct list link; /* core->conns */
    struct core *core;
    struct meta_node *node; /* NULL until a bootstrap connection knows whom it reached */
    enum meta_lane lane;
    enum conn_state state;
    bool down_wanted; /* close at the next turn */
    bool suspect;     /* owed an answer too long: others are asked first */
    int down_err;
    char address[CLIENT_ADDRESS_SIZE];
    struct frame_reader reader;
    struct list queued;   /* requests not yet handed to the driver */
    struct list sending;  /* handed over, in order */
    struct list awaiting; /* unanswered, in order */
    unsigned awaiting_count;
    uint32_t correlation_next;
    uint64_t serial;              /* its number: never used again, as its memory may be */
    uint64_t received_ns;         /* last bytes */
    uint64_t connect_deadline_ns; /* while connecting or greeting */
    uint32_t payload_max;         /* bytes that the node takes in one frame */
    void *driver;
};

/* Start to connect. @node may be NULL (bootstrap). Errors: ERR_NOMEM, the driver's. */
int conn_open(struct core *core, const char *address, struct meta_node *node, enum meta_lane lane,
              struct conn **out) MUST_USE;

/* A request of @call with @message_size bytes of message to be packed at request_message(), room for @payload_count
 * pieces of payload and @extra_size bytes of the maker's own. NULL: out of memory or too big. */
struct request *request_new(uint16_t call, size_t message_size, uint32_t payload_count, size_t extra_size);
uint8_t *request_message(struct request *r);

static inline bool conn_ready(const struct conn *conn)
{
    return conn->state == CONN_READY && !conn->down_wanted && conn->awaiting_count < CONN_REQUESTS_MAX;
}

/* Queue for the end of this turn. From here on @r belongs to the connection. */
void conn_request(struct conn *conn, struct request *r, uint64_t timeout_ns);

/* A request that was never given to a connection. */
void request_discard(struct request *r);

/* Nothing more is wanted of @r: @done will not be called. */
void request_abandon(struct request *r);

/* The connection is over (CONN_CLOSING): its node may be connected to again after a back-off. For conn*.c. */
void conn_detach(struct conn *conn, int err, const char *text);

/* Close at the next turn. */
void conn_drop(struct conn *conn, int err);

/* Timeouts and closing; hand what is queued to the driver. */
void conns_tick(struct core *core);
void conns_flush(struct core *core);

/* A ready connection to any node for a call, or NULL while one is being made. The one with the serial @not_this only if
 * there is no better. */
struct conn *conn_any(struct core *core, uint64_t not_this);

#endif
