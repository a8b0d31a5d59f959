/* Workload clients: programs on simulated machines of their own, which speak the native protocol over the simulated
 * network and suffer faults like everybody. Each kind is a struct client_kind, so that other clients (the real library)
 * can be plugged in beside those of this folder. */
#ifndef CAIRN_SIM_CLIENT_H
#define CAIRN_SIM_CLIENT_H

#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "proto/native/native.pb-c.h"
#include "tests/sim/oracle.h"

#define CLIENT_TOPICS_MAX 3

/* What all clients of a run share: what they are to do, and the oracles that they report to. */
struct workload {
    struct oracle *oracle;
    struct sim_world *world;
    unsigned n_nodes;       /* "n1:9092" ... are the bootstrap addresses */
    unsigned n_topics;      /* "t0", "t1", ...; the last one comes and goes with @churn */
    bool churn;
    unsigned partitions;    /* a topic */
    unsigned replication;
    uint32_t batch_gap_ms;  /* mean time between two batches of a producer for a partition */
    uint32_t records_max;   /* a batch */
    uint32_t request_timeout_ms;
    uint32_t delivery_timeout_ms; /* then a producer gives up and raises its epoch; 0: never */
    uint32_t fetch_max_bytes;
    uint64_t healed_ns;     /* 0: faults go on */
    bool stop;              /* no new batches, no new topics */
};

struct client_kind {
    const char *name;
    void *(*start)(struct env *env, struct workload *w); /* in a turn */
    void (*abandon)(void *client); /* its machine has died: free everything, touch nothing */
    /* For the phase after healing; looked at from outside. */
    bool (*fresh)(const void *client); /* each partition has acknowledged a batch that was made after healing */
    bool (*idle)(const void *client);  /* nothing is outstanding */
    void (*describe)(const void *client, char *out, size_t size); /* what it waits for */
};

extern const struct client_kind client_producer_idempotent;
extern const struct client_kind client_producer_plain;
extern const struct client_kind client_consumer;
extern const struct client_kind client_real_producer; /* libcairn's (real_client.h) */
extern const struct client_kind client_real_consumer;
extern const struct client_kind client_real_both; /* on one core, as in one application */
extern const struct client_kind client_real_members; /* of a consumer group */
extern const struct client_kind client_admin;    /* makes the topics; and deletes one */
extern const struct client_kind client_pedant;   /* producer epochs and retries, more often than anybody needs them */
extern const struct client_kind client_prober;   /* asks leaders that were deposed */
extern const struct client_kind client_verifier; /* reads everything once, strictly; fresh when it has done so */

/* The verifier has read everything: compare with what was acknowledged. */
void client_verifier_conclude(const void *client);

/* ---- connections to the nodes (client_net.c) --------------------------------------------------------------------- */

struct client_net;

/* Exactly once, never inside the call; @status 0: @frame is borrowed (its status may be an error). ERR_CLOSED: whether it was
 * carried out is not known. */
typedef void (*client_answer_cb)(void *data, int status, const struct frame *frame);

struct client_net *client_net_new(struct env *env, struct workload *w);
void client_net_abandon(struct client_net *net);
/* @node 1..n. Errors: ERR_BUSY not connected now (a connection is on its way). */
int client_request(struct client_net *net, unsigned node, uint16_t call, const ProtobufCMessage *message,
                   const uint8_t *payload, size_t payload_size, uint32_t timeout_ms, client_answer_cb done, void *data) MUST_USE;
bool client_connected(struct client_net *net, unsigned node); /* dials when not */
unsigned client_any_node(struct client_net *net); /* some connected node, another one each time; 0: none */
/* Where to complain: its metadata is fetched soon. */
void client_refresh(struct client_net *net);
uint64_t client_random(struct client_net *net, uint64_t below);

struct client_partition {
    struct oracle_part *part;
    unsigned leader; /* 0: not known */
    uint64_t leader_epoch;
};
struct client_topic {
    bool exists;
    struct uuid id;
    unsigned n;
    uint64_t newest_group; /* of partition 0 */
    struct client_partition *partitions;
};
/* As the newest metadata has it. */
const struct client_topic *client_topic(struct client_net *net, unsigned topic);
uint64_t client_metadata_age_ns(struct client_net *net);
void client_topic_name(const struct workload *w, unsigned topic, char out[16]);

/* The next (up to) @n records of @s in a batch, at *bytes within @scratch: noted as sent. @value is scratch too. Returns how
 * many they are. @stamp NULL: of a plain producer; else its base sequence is set. */
struct record_batch_stamp;
uint32_t client_batch_build(struct oracle *o, struct oracle_stream *s, uint32_t n, int64_t now_ms,
                            struct record_batch_stamp *stamp, uint8_t *value, uint8_t *scratch, size_t scratch_size,
                            uint8_t **bytes, size_t *size);

struct client_tick {
    struct timer timer;
    struct env *env;
    uint32_t ms;
    void (*run)(void *data);
    void *data;
};
void client_tick_start(struct client_tick *tick, struct env *env, uint32_t ms, void (*run)(void *data), void *data);

#endif
