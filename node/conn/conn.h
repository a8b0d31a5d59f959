/* Client connections: listeners, sockets, buffers and their limits. What a connection speaks is its listener's matter: each
 * leads to one front door.
 *
 * Hub thread. */
#ifndef CAIRN_CONN_H
#define CAIRN_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "node/kafka/kafka.h"
#include "node/service/service.h"
#include "raft/env/env.h"

struct conns;

#define CONN_STALL_TIMEOUT_MS 30000     /* a frame that was begun and does not go on: half-open or hostile */
#define CONN_STALL_SHORT_TIMEOUT_MS 3000 /* the same where memory is short: what it holds is wanted by others */
#define CONN_TRIM_MS 5000                /* without bytes: its buffer is given back */
#define CONN_SWEEP_MS 1000

#define CONN_REQUESTS_MAX 1024          /* under way on one connection: beyond it, it is read no further */
#define CONN_OUT_MAX_BYTES (16u << 20)  /* answers queued for a client that does not read: beyond it, it is read no further */

enum conn_protocol { CONN_NATIVE, CONN_KAFKA };

struct conn_listener_params {
    enum conn_protocol protocol;
    char name[32];
    char address[ENV_ADDRESS_MAX];    /* to listen on */
    char advertised[ENV_ADDRESS_MAX]; /* what clients are told; empty: as bound */
};

struct conns_params {
    struct env *env;
    struct buf_pool *pool;
    uint64_t memory_max_bytes;
    uint32_t connections_max;
    uint32_t idle_timeout_ms; /* 0: never */
    struct kafka_settings kafka;
};

struct conns *conns_new(const struct conns_params *params);
/* Bind before the node makes itself known (its advertised addresses come from here); accept nothing yet.
 * Errors: those of env_listen; @errmsg. */
int conns_listen(struct conns *c, const struct conn_listener_params *listener, char *errmsg) MUST_USE;
const char *conns_address(const struct conns *c, uint32_t i); /* as bound */
/* From here on connections are served. */
void conns_serve(struct conns *c, struct service *service);
/* No new connections; open ones end. @closed when none is left. */
void conns_close(struct conns *c, void (*closed)(void *data), void *data);
void conns_abandon(struct conns *c); /* between service_abandon() and service_free() */

struct conns_stats {
    uint32_t open;
    uint64_t accepted;
    uint64_t refused;   /* above connections_max */
    uint64_t malformed; /* closed for what they sent */
    uint64_t timed_out;
    uint64_t bytes_in, bytes_out;
    uint64_t paused;    /* times that reading stopped for a budget */
};
void conns_stats(const struct conns *c, struct conns_stats *stats);

#endif
