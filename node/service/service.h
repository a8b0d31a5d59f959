/* The verbs, free of any protocol: what front doors decode into and encode from. Every verb takes a request context.
 *
 * Hub thread. Callbacks may run inside the call that starts the verb. */
#ifndef CAIRN_SERVICE_H
#define CAIRN_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/control/control.h"
#include "node/shard/partition.h"

struct service;

#define SERVICE_PARTS_MAX 2048               /* partitions in one request; an answer of so many fits in a frame's message */
#define SERVICE_TIMEOUT_MAX_MS 300000u       /* longest time that a request may ask for */
#define SERVICE_TIMEOUT_DEFAULT_MS 30000u
#define SERVICE_FETCH_MAX_BYTES (64u << 20)  /* a fetch's answer */
#define SERVICE_FETCH_SHARE_MIN_BYTES 65536u /* a partition's share of it, however many there are */
#define SERVICE_FETCH_BATCHES_MAX 4096u      /* of one partition, after which no more are waited for */
#define SERVICE_PRODUCER_BLOCK 1000u         /* producer ids taken from the metadata group at once */
#define SERVICE_PRODUCER_EPOCH_MAX 32767

/* Who asks, through which door, and how much it may cost. Borrowed by a verb until its end. */
struct request_context {
    const char *principal; /* "anonymous" until there is authentication */
    const char *listener;  /* name of the listener: its advertised addresses are answered */
    const char *client;    /* what the client calls itself; for log lines */
};

struct service *service_new(struct env *env, struct control *control, const char *version);
/* Closing: whoever waits here for something to happen is answered now. What control and the shards have under way, they end. */
void service_end(struct service *s);
/* After control_close(): nothing is under way any more; or after service_abandon() and control_abandon(). */
void service_free(struct service *s);
/* The node is gone (simulation): forget everybody without answering, before their memory goes. */
void service_abandon(struct service *s);
const struct metadata_fsm *service_metadata(const struct service *s);
struct control *service_control(struct service *s);
const char *service_version(const struct service *s);
uint64_t service_uptime_ms(const struct service *s);
/* Advertised address of @node on the context's listener; "" when it is not known. */
const char *service_address(const struct service *s, const struct request_context *ctx, uint32_t node);

/* ---- produce ------------------------------------------------------------------------------------------------------ */

struct service_produce;
struct service_produce_part {
    struct partition_produce op; /* op.buf, data and size are set by the caller; results stand here */
    struct uuid topic_id;
    uint32_t partition;
    bool completed;
    struct service_produce *request;
};
struct service_produce {
    struct service *service;
    const struct request_context *ctx;
    void (*done)(struct service_produce *p); /* read the results now: the memory is the service's again after it */
    void *data;
    uint32_t timeout_ms; /* after it, what is not answered is ERR_UNKNOWN_OUTCOME */
    uint32_t n;
    uint32_t pending;
    bool answered;
    uint64_t deadline_ms;
    struct list link; /* of those that are not answered, or of those that are and are not back */
    struct service_produce_part parts[];
};
struct service_produce *service_produce_new(uint32_t parts) MUST_USE; /* NULL: out of memory */
void service_produce_free(struct service_produce *p);                 /* only when it was never submitted */
void service_produce(struct service *s, struct service_produce *p);
int service_produce_error(const struct service_produce_part *part);

/* ---- fetch -------------------------------------------------------------------------------------------------------- */

struct service_fetch;
struct service_fetch_part {
    struct partition_fetch op; /* op.offset and op.max_bytes are set by the caller; results stand here */
    struct uuid topic_id;
    uint32_t partition;
    uint32_t bytes; /* of it, counted */
    bool submitted;
    bool completed;
    struct service_fetch *request;
};
struct service_fetch {
    struct service *service;
    const struct request_context *ctx;
    void (*done)(struct service_fetch *f); /* then the caller's, until service_fetch_free() */
    void *data;
    uint32_t max_wait_ms;
    uint32_t min_bytes; /* 0: 1 */
    uint32_t max_bytes; /* 0: SERVICE_FETCH_MAX_BYTES */
    uint64_t bytes;     /* found so far */
    uint32_t first;     /* part that is served first this time */
    uint32_t n;
    uint32_t pending; /* ops and cancellations under way, and one while submitting */
    bool cancelling;
    struct timer timer;
    struct list link; /* the caller's */
    struct service_fetch_part parts[];
};
struct service_fetch *service_fetch_new(uint32_t parts) MUST_USE;
void service_fetch_free(struct service_fetch *f); /* releases what it holds; not while it is under way */
/* Answers as soon as the partitions have min_bytes together, one has an error or its share is full, or after max_wait_ms. */
void service_fetch(struct service *s, struct service_fetch *f);
void service_fetch_cancel(struct service_fetch *f); /* answer soon, with what there is (its client is gone) */

/* ---- list offsets --------------------------------------------------------------------------------------------------- */

struct service_list_offsets;
struct service_list_offsets_part {
    struct partition_list_offsets op; /* op.time_ms is set by the caller */
    struct uuid topic_id;
    uint32_t partition;
    struct service_list_offsets *request;
};
struct service_list_offsets {
    struct service *service;
    const struct request_context *ctx;
    void (*done)(struct service_list_offsets *l); /* then the caller's: free() it */
    void *data;
    uint32_t n;
    uint32_t pending;
    struct service_list_offsets_part parts[];
};
struct service_list_offsets *service_list_offsets_new(uint32_t parts) MUST_USE;
void service_list_offsets(struct service *s, struct service_list_offsets *l);

/* ---- producer ids --------------------------------------------------------------------------------------------------- */

struct service_init_producer {
    struct service *service;
    int64_t producer_id; /* in: -1 asks for a new one, else its epoch is raised; out: the id */
    int32_t epoch;       /* in: the present one; out: the one to use */
    int error;
    void (*done)(struct service_init_producer *i);
    struct list link;
};
void service_init_producer(struct service *s, struct service_init_producer *i);

/* ---- topics ----------------------------------------------------------------------------------------------------------- */

struct service_topic {
    struct service *service;
    /* in */
    const char *name; /* borrowed until @done */
    uint32_t partitions;
    uint32_t replication;
    const struct metadata_setting *configs;
    uint32_t n_configs;
    /* create: whom the replicas of @nodes_partitions new partitions are placed on, @replication each; NULL: the cluster's choice */
    const uint32_t *nodes;
    uint32_t nodes_partitions;
    bool validate_only;
    uint32_t timeout_ms;
    struct uuid topic_id; /* delete: instead of the name. out: of the topic made */
    /* out */
    int error;
    char text[ERRMSG_SIZE];
    void (*done)(struct service_topic *t);
    /* the service's */
    struct control_proposal proposal;
    struct control_barrier barrier;
    struct timer timer;
    struct list link; /* of those that wait for leaders */
    uint64_t deadline_ms;
};
/* Done when every partition has a leader that is known here, or at the time limit (the topic exists all the same). */
void service_create_topic(struct service *s, struct service_topic *t);
void service_delete_topic(struct service *s, struct service_topic *t);
/* Give it @partitions partitions, more than it has; with @nodes, those of the new ones. Done as with create. */
void service_create_partitions(struct service *s, struct service_topic *t);
/* Set @configs; an empty value goes back to the default. */
void service_alter_topic(struct service *s, struct service_topic *t);
/* Make the local read model current, then @done: for describing and listing. Errors: as control_barrier. */
void service_read_metadata(struct service *s, struct service_topic *t);

/* ---- status ----------------------------------------------------------------------------------------------------------- */

struct service_status;
struct service_status_shard {
    struct shard_stats_op stats;
    struct service_status *status;
};
struct service_status {
    struct service *service;
    uint32_t n;
    uint32_t pending;
    struct service_status_shard shards[SHARDS_MAX];
    void (*done)(struct service_status *st); /* then the caller's: free() it */
    void *data;
};
void service_status(struct service *s, struct service_status *st);
uint32_t service_partitions_without_leader(const struct service *s);

#endif
