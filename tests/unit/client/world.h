/* A small cluster in memory, on virtual time, that really keeps logs: it appends, deduplicates by producer id, epoch
 * and sequence, refuses, forgets to answer, answers late, applies late, moves leaders and cuts connections. The core
 * under test runs on it through a client_io of its own. */
#ifndef TESTS_CLIENT_WORLD_H
#define TESTS_CLIENT_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/src/core/consumer.h"
#include "client/src/core/core.h"
#include "client/src/core/producer.h"
#include "proto/native/frame.h"

#define WORLD_NODES 3
#define WORLD_PARTITIONS_MAX 8
#define WORLD_REMEMBERED 5 /* batches a producer */
#define WORLD_PRODUCERS_MAX 64
#define WORLD_PAYLOAD_MAX (8u << 20)
#define WORLD_TOPIC "orders"

struct world_batch {
    uint8_t *bytes;
    size_t size;
    int64_t base_offset;
    int32_t count;
};

struct world_producer {
    int64_t id;
    int16_t epoch;
    int known; /* entries below, oldest first */
    int32_t first[WORLD_REMEMBERED];
    int32_t count[WORLD_REMEMBERED];
    int64_t offset[WORLD_REMEMBERED];
};

struct world_partition {
    struct world_batch *batches;
    size_t batch_count;
    size_t batch_capacity;
    int64_t next_offset;
    int64_t log_start;
    uint32_t leader; /* node 1..WORLD_NODES, 0: none */
    uint64_t epoch;
    struct world_producer producers[WORLD_PRODUCERS_MAX];
    int producer_count;
};

/* Chances in 1/1000 for each request or message. */
struct world_faults {
    unsigned cut;          /* the connection breaks when a request arrives: before or after it is carried out */
    unsigned unknown;      /* UNKNOWN_OUTCOME, applied or not */
    unsigned late_apply;   /* applied (or not) long after, the answer comes then or never */
    unsigned refuse;       /* BUSY, LEADER_NOT_READY */
    unsigned slow;         /* the answer takes long */
    unsigned ghost;        /* bytes of a closed connection still arrive */
    unsigned move_leader;  /* leadership moves on a request */
    unsigned forget_state; /* producer state is lost (expiry) */
    unsigned no_hint;      /* NOT_LEADER without a hint */
    unsigned fail_connect; /* of connects */
    unsigned invalid;      /* refused for good, even what was written before */
    unsigned early;        /* a fetch begins a batch too early */
};

struct world_event;
struct world_link;

struct world {
    struct client_io io;
    struct core core;
    struct rng rng;
    uint64_t now_ns;
    uint64_t timer_ns;
    struct world_event **heap;
    size_t heap_count;
    size_t heap_capacity;
    uint64_t event_next;
    struct world_partition partitions[WORLD_PARTITIONS_MAX];
    uint32_t partition_count;
    struct world_faults faults;
    int64_t producer_id_next;
    bool node_down[WORLD_NODES + 1];     /* refuses connections, kills those it has */
    bool node_deaf[WORLD_NODES + 1];     /* takes everything, answers nothing */
    bool node_mute[WORLD_NODES + 1];     /* carries everything out, answers nothing */
    bool node_unformed[WORLD_NODES + 1]; /* does not know its cluster's id yet */
    bool topic_missing;
    uint8_t topic_id[16];
    uint64_t topic_group;              /* of partition 0 */
    bool node_behind[WORLD_NODES + 1]; /* its metadata is of the topic before the last world_renew_topic() */
    uint64_t latency_ns;
    uint32_t piece_bytes; /* of answers, that many a tick of piece_ns; 0: whole ones */
    uint64_t piece_ns;
    uint32_t fetch_wait_ms;  /* until there is said to be nothing */
    uint8_t *payload;        /* room for an answer */
    int force_produce_error; /* every produce is answered with it, not applied; 0: none */
    int force_produce_skip;  /* not these, which come before it */
    int force_produce_count; /* how often still */
    uint64_t produce_requests;
    uint64_t produce_partitions;
    uint64_t metadata_requests;
    uint64_t init_requests;
    uint64_t fetch_requests;
    uint64_t duplicates_seen;
    unsigned spins;
    struct list links;
    char addresses[WORLD_NODES + 1][64];
    /* Calls that it does not know; false: nor does this. NULL: there is none. world_group.h sets them. */
    bool (*serve_more)(struct world *w, struct world_link *link, const struct frame *f);
    void (*link_gone)(struct world *w, struct world_link *link); /* answers to it go nowhere */
    void (*tick)(struct world *w);                               /* after each step */
    uint64_t tick_ns;                                            /* a step is wanted then; UINT64_MAX: none */
    void *more;
    /* Where answers go instead of into events, for a server on real sockets (server.h); NULL: events. */
    void (*reply)(struct world *w, struct world_link *link, const uint8_t *bytes, size_t size);
};

void world_init(struct world *w, uint32_t partitions, uint64_t seed);
void world_close(struct world *w);
/* Run until @done(@arg) or @limit_ms of virtual time pass; true when done. */
bool world_run(struct world *w, uint64_t limit_ms, bool (*done)(void *), void *arg);
/* One event or timer; false: nothing is left to happen. */
bool world_step(struct world *w);
void world_set_down(struct world *w, uint32_t node, bool down);
void world_move_leader(struct world *w, uint32_t partition, uint32_t to);
/* The topic is deleted, and made again under its name. */
void world_renew_topic(struct world *w);
/* A request arrived at @node over @link (any pointer where w->reply is set). */
void world_serve(struct world *w, struct world_link *link, uint32_t node, const struct frame *f);
struct world_link *world_link_new(uint32_t node);
void world_link_free(struct world *w, struct world_link *link);
/* Answer a request: with a message, or with an error. */
struct ProtobufCMessage;
void world_answer(struct world *w, struct world_link *link, const struct frame_header *request,
                  const struct ProtobufCMessage *m);
void world_fail(struct world *w, struct world_link *link, const struct frame_header *request, int err,
                const struct ProtobufCMessage *failure);
uint32_t world_link_node(const struct world_link *link);
/* Append a batch of @count records "value-<n>" for consumers; values go on from the last call. */
void world_append(struct world *w, uint32_t partition, int32_t count, uint8_t codec);

#endif
