/* A whole node: everything that `cairnd` runs, put together on one environment. main.c makes one on libuv; the simulator
 * makes many on simulated machines. */
#ifndef CAIRN_NODE_H
#define CAIRN_NODE_H

#include "node/conn/conn.h"
#include "node/control/control.h"

struct node;

struct node_params {
    struct control_params control;       /* env, pool and the listeners' advertised addresses are filled in by node_open */
    struct env *env;
    const char *version;
    struct conn_listener_params listeners[METADATA_LISTENERS_MAX]; /* where clients connect */
    uint32_t n_listeners;
    const char *http_listen;   /* where metrics are told; NULL or empty: nowhere. Not in simulations */
    uint64_t memory_max_bytes; /* bytes received and held for clients and peers: beyond it client sockets are read no further */
    uint32_t connections_max;
    bool auto_create_topics;   /* Kafka's clients may have topics made by asking for them */
    uint32_t idle_timeout_ms;  /* of a client connection without any traffic; 0: never */
};

/* Errors with one line in @errmsg that says what to do. */
int node_open(const struct node_params *params, struct node **out, char *errmsg) MUST_USE;
/* This node must not go on (wiped disk under a known id, another cluster): the program ends. */
void node_on_refused(struct node *n, void (*cb)(void *data, int err, const char *text), void *data);
/* Orderly: hand over leaderships (at most @limit_ms), close the doors, flush, then @closed. */
void node_stop(struct node *n, uint32_t limit_ms, void (*closed)(void *data), void *data);
void node_abandon(struct node *n); /* the machine has died (simulation): free everything, touch nothing */

struct control *node_control(struct node *n);
struct service *node_service(struct node *n);
const char *node_listener_address(const struct node *n, uint32_t i); /* as bound */
const char *node_http_address(const struct node *n);                 /* as bound; "": there is none */

#endif
