/* The client without I/O, clock, threads or globals: bytes and the time go in, bytes to send and a deadline come out.
 * A driver runs it: the one on libuv (driver_uv.c), or the simulator's with a network of its own.
 *
 * The driver, on one thread:
 *     core_turn(core, now)                  after every batch of events and at the deadline that io->timer() named
 *     core_conn_up, core_conn_down          what became of io->connect()
 *     core_conn_read_alloc, ..._commit      bytes that arrived
 *     core_conn_sent                        the oldest io->send() of the connection is done with its memory
 * These record what happened; io is called from core_turn() only (and core_shutdown()). */
#ifndef CAIRN_CLIENT_CORE_H
#define CAIRN_CLIENT_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "client/src/core/limits.h"
#include "client/src/core/meta.h"
#include "client/src/core/rng.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/list.h"

struct conn;

/* What the driver does for the core. None of these may call back into the core. */
struct client_io {
    /* Start to connect to "HOST:PORT". Then core_conn_up() and, at the end, core_conn_down() exactly once; or only
     * core_conn_down(). An error: neither. */
    int (*connect)(struct client_io *io, struct conn *conn, const char *address);
    /* Send all of @iov (copied; at most CONN_IOV_MAX). The bytes it names stay valid until the core_conn_sent() of
     * this send, in order, or core_conn_down(). */
    void (*send)(struct client_io *io, struct conn *conn, const struct iovec *iov, unsigned count);
    /* Drop the connection; core_conn_down() follows once nothing refers to its memory. */
    void (*close)(struct client_io *io, struct conn *conn);
    /* Call core_turn() at @deadline_ns at the latest; UINT64_MAX: no need. */
    void (*timer)(struct client_io *io, uint64_t deadline_ns);
};

struct core_config {
    const char *client_id;
    char (*bootstrap)[CLIENT_ADDRESS_SIZE]; /* copied */
    unsigned bootstrap_count;
    uint32_t connect_timeout_ms;
    uint32_t request_timeout_ms;
    uint32_t metadata_max_age_ms;
    size_t pool_keep_bytes; /* of freed buffers kept for reuse */
};

struct core {
    struct client_io *io; /* borrowed */
    struct core_config config;
    char client_id[64];
    struct buf_pool *pool;
    struct rng rng;
    uint64_t now_ns;      /* of the turn */
    uint64_t deadline_ns; /* the next turn that somebody needs */
    uint64_t timer_ns;    /* what io->timer() was told last */
    uint64_t tick_ns;     /* next look at timeouts */
    struct list conns;
    uint64_t conn_serial; /* of the newest */
    struct list calls;     /* core_call, in no order */
    struct list producers; /* producer */
    struct list consumers; /* consumer */
    struct meta meta;
    bool cluster_known;
    uint8_t cluster_id[16];
    unsigned bootstrap_next;     /* candidate of the next attempt */
    uint64_t bootstrap_after_ns; /* not before */
    unsigned bootstrap_failures; /* in a row */
    unsigned any_next;           /* takes turns among connections */
    char trouble[ERRMSG_SIZE];   /* why the last connection failed, for people; "" */
};

/* Fills the defaults. */
void core_config_init(struct core_config *config);

/* Errors: ERR_INVALID (no address), ERR_NOMEM. */
int core_init(struct core *core, struct client_io *io, const struct core_config *config, uint64_t seed) MUST_USE;

/* Close all connections: io->close() for each; core_closed() is true once all core_conn_down() came in. Producers and
 * consumers must be gone; calls end with ERR_SHUTDOWN. */
void core_shutdown(struct core *core);
bool core_closed(const struct core *core);
/* Free what core_init made. core_closed() holds. */
void core_free(struct core *core);

/* Do all that is due: timeouts, retries, requests, then hand everything queued to io->send(). */
void core_turn(struct core *core, uint64_t now_ns);

/* For the parts of the core: somebody needs a turn at @when_ns. */
static inline void core_wake_at(struct core *core, uint64_t when_ns)
{
    if (when_ns < core->deadline_ns) {
        core->deadline_ns = when_ns;
    }
}

/* Waits from @min_ms doubling to @max_ms, with up to a quarter of jitter. */
uint64_t core_backoff_ns(struct core *core, unsigned attempts, uint32_t min_ms, uint32_t max_ms);

/* Connections, for the driver. @now_ns: when it happened. */
void core_conn_up(struct conn *conn, uint64_t now_ns);
void core_conn_down(struct conn *conn, uint64_t now_ns, int err, const char *text);
int core_conn_read_alloc(struct conn *conn, uint8_t **base, size_t *length) MUST_USE;
/* Errors: the stream is unusable; the core closes it at its next turn. */
void core_conn_read_commit(struct conn *conn, size_t n, uint64_t now_ns);
void core_conn_sent(struct conn *conn);
void *core_conn_driver(const struct conn *conn);
void core_conn_set_driver(struct conn *conn, void *driver);

#endif
