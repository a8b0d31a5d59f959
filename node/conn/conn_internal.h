/* Inside of node/conn: one connection. */
#ifndef CAIRN_CONN_INTERNAL_H
#define CAIRN_CONN_INTERNAL_H

#include "node/conn/conn.h"
#include "node/kafka/kafka.h"
#include "node/kafka/kafka_reader.h"
#include "node/native/native.h"
#include "proto/native/frame.h"

struct conn;

/* What a connection asks of the protocol that it speaks: its reader of frames and its session. */
struct conn_door {
    void (*open)(struct conn *conn, const char *listener);
    void (*close)(struct conn *conn); /* the reader's buffer goes */
    int (*alloc)(struct conn *conn, uint8_t **base, size_t *length);
    void (*commit)(struct conn *conn, size_t n);
    /* Take one complete request: 0; ERR_NOT_FOUND none is complete; else the connection is to be closed: @reason. */
    int (*next)(struct conn *conn, char *reason);
    bool (*has_room)(const struct conn *conn);
    bool (*partial)(const struct conn *conn);
    void (*trim)(struct conn *conn);
    bool (*session_close)(struct conn *conn);
    void (*session_abandon)(struct conn *conn);
};
extern const struct conn_door conn_native_door;
extern const struct conn_door conn_kafka_door;

struct conn_listener {
    struct conns *conns;
    char name[32];
    const struct conn_door *door;
    struct env_listener *listener;
};

struct conns {
    struct conns_params params;
    struct env *env;
    struct service *service; /* NULL until conns_serve() */
    struct conn_listener listeners[METADATA_LISTENERS_MAX];
    uint32_t n_listeners;
    struct list open;
    struct list ended; /* closed and not yet freed */
    struct list dirty;  /* connections with answers to send or frames to go on with */
    struct list paused; /* not read for the memory budget */
    struct env_hook hook;
    struct timer sweep;
    struct conns_stats stats;
    uint32_t ending; /* length of @ended, and one for the message under way */
    bool refusing;   /* that the limit is reached was said */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    struct env_message close_message;
};

#define CONN_BATCH_IOV 256 /* iovecs gathered for one write */

struct conn {
    struct conns *conns;
    struct env_conn *socket;
    const struct conn_door *door;
    union {
        struct {
            struct native_session session;
            struct frame_reader reader;
        } native;
        struct {
            struct kafka_session session;
            struct kafka_reader reader;
        } kafka;
    } u;
    /* in the session: */
    const char *client;
    size_t *out_bytes;
    const uint32_t *requests;
    const bool *held; /* a request waits for those before it: it is read no further */
    struct list link;
    struct list dirty;
    struct list paused;
    struct list out;      /* struct service_answer, not yet given to the socket */
    struct list writing;  /* those of the write under way */
    struct env_write write;
    struct iovec iov[CONN_BATCH_IOV];
    bool write_busy;
    bool reading;
    bool doomed;        /* there was no memory for an answer, or none that could be said: @doom */
    const char *doom;
    bool closed;        /* by us; memory goes when socket and session are done with it */
    bool socket_gone;
    bool session_idle;
    uint64_t last_ms;   /* of the last bytes in or out */
    uint64_t frame_ms;  /* when the reader began to stand inside a frame; 0: it does not */
    struct service_answer *partial; /* of @writing: a response with more iovecs than one write takes */
    uint32_t partial_iov;           /* its first iovec not yet written */
};

void conn_accept(struct env_listener *listener, void *data, struct env_conn *socket);
void conn_flush(struct conn *conn);
void conn_turn(struct env_hook *hook);
void conn_sweep(struct timer *timer);
/* @reason NULL: no log line (ordinary end). */
void conn_close(struct conn *conn, const char *reason);
void conn_free(struct conn *conn);
void conns_ended(struct conns *c);

/* What sessions tell: for the doors. @a NULL: there was no memory for an answer. */
void conn_send(struct conn *conn, struct service_answer *a);
void conn_wake(struct conn *conn);
void conn_session_idle(struct conn *conn);

#endif
