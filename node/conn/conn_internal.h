/* Inside of node/conn: one connection. */
#ifndef CAIRN_CONN_INTERNAL_H
#define CAIRN_CONN_INTERNAL_H

#include "node/conn/conn.h"
#include "node/native/native.h"
#include "proto/native/frame.h"

struct conn_listener {
    struct conns *conns;
    char name[32];
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
    struct native_session session;
    struct frame_reader reader;
    struct list link;
    struct list dirty;
    struct list paused;
    struct list out;      /* struct native_response, not yet given to the socket */
    struct list writing;  /* those of the write under way */
    struct env_write write;
    struct iovec iov[CONN_BATCH_IOV];
    bool write_busy;
    bool reading;
    bool doomed;        /* there was no memory for an answer */
    bool closed;        /* by us; memory goes when socket and session are done with it */
    bool socket_gone;
    bool session_idle;
    uint64_t last_ms;   /* of the last bytes in or out */
    uint64_t frame_ms;  /* when the reader began to stand inside a frame; 0: it does not */
    struct native_response *partial; /* of @writing: a response with more iovecs than one write takes */
    uint32_t partial_iov;            /* its first iovec not yet written */
};

void conn_accept(struct env_listener *listener, void *data, struct env_conn *socket);
void conn_flush(struct conn *conn);
void conn_turn(struct env_hook *hook);
void conn_sweep(struct timer *timer);
/* @reason NULL: no log line (ordinary end). */
void conn_close(struct conn *conn, const char *reason);
void conn_free(struct conn *conn);
void conns_ended(struct conns *c);

#endif
