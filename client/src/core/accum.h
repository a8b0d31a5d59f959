/* The producer's front: records become batches here. What the program's threads and the sender share, and nothing
 * else of the core: in the library every call is made under one mutex of the producer (host->lock), which the sender
 * takes once a turn; in the simulator there is none.
 *
 * Per record: a look-up of the topic (the last one is remembered), a copy, no allocation. Per batch: its arena. */
#ifndef CAIRN_CLIENT_ACCUM_H
#define CAIRN_CLIENT_ACCUM_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "client/src/core/batch.h"
#include "client/src/core/limits.h"
#include "client/src/core/rng.h"

struct conn;
struct meta_topic;
struct producer;

/* What the owner of a producer does for it. */
struct producer_host {
    void (*lock)(struct producer_host *host);       /* may be NULL: one thread */
    void (*unlock)(struct producer_host *host);     /* may be NULL */
    uint64_t (*now_ns)(struct producer_host *host); /* the clock that core_turn() is given */
    /* The fate of @b's records (status, text, base_offset, tags, builder.count). On the core's thread, unlocked; must
     * not call the core. May be NULL. */
    void (*delivered)(struct producer_host *host, struct batch *b);
    /* Something that a waiter may wait for changed: room, an end, a topic. Called locked, from the sender. */
    void (*changed)(struct producer_host *host);
};

struct accum_config {
    uint32_t linger_ms;
    uint32_t batch_size_bytes;
    uint64_t buffer_max_bytes;
    uint32_t delivery_timeout_ms;
    unsigned in_flight_max; /* batches a partition */
    bool keep_tags;
};

struct accum_topic {
    char name[CLIENT_TOPIC_NAME_MAX + 1];
    uint32_t partition_count; /* 0: not known yet */
    int error;                /* why not */
    struct producer_partition **partitions;
    uint32_t sticky; /* partition of records without a key */
    size_t sticky_bytes;
    bool sticky_stuck;        /* it had no room at the last tick either */
    bool registered;          /* the sender knows of it */
    struct meta_topic *meta;  /* the sender's */
    uint64_t meta_generation; /* the sender's: the answer that was looked at last */
    UT_hash_handle hh;
};

struct producer_partition {
    struct accum_topic *topic;
    uint32_t partition;

    /* Front. */
    struct list ready_link; /* accum->ready: has data and the sender has room */
    struct batch *open;
    struct list sealed; /* batches, oldest first */
    unsigned room;      /* batches that the sender takes */
    size_t arena_hint;  /* bytes of the last batch */

    /* The sender's. */
    struct list active_link; /* producer->active: its queue is not empty */
    struct list room_link;   /* producer->room_changed */
    unsigned room_new;       /* to be added to room */
    struct list queue;       /* batches in order: sent ones first, then queued ones; done ones leave from the head */
    unsigned queue_count;
    unsigned on_wire;       /* batches in state BATCH_SENT */
    struct conn *wire_conn; /* compared only: where they were sent */
    uint32_t wire_node;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t sequence_next;
    bool retrying;     /* something was refused: resend all once nothing is on the wire */
    bool reset_wanted; /* needs the next epoch once nothing is on the wire */
    bool stale;        /* its epoch is used up: sends nothing before the next one */
    unsigned attempts; /* in a row without success */
    int last_error;    /* why the last attempt failed, 0: none did since the last success */
    uint64_t retry_ns;
};

struct accum {
    struct producer_host *host;
    struct buf_pool *pool;
    struct accum_config config;
    struct accum_topic *topics;
    struct accum_topic *topic_last;
    struct list ready;
    struct list all;            /* batches not yet told about */
    struct list expired;        /* of no use to the sender any more, ended before they were sent */
    struct batch *free_batches; /* chained by their link.next */
    unsigned free_count;
    uint64_t number_next;
    uint64_t used_bytes; /* arenas */
    unsigned waiters;    /* threads that wait for room */
    unsigned flushing;   /* threads that wait for everything */
    bool topics_new;     /* some topic is not registered */
    uint64_t wake_ns;    /* the sender's next look at this, UINT64_MAX: only when woken */
    struct rng rng;
    uint64_t records_sent;
};

struct accum_record {
    const char *topic;
    int32_t partition; /* -1: chosen here */
    const void *key;
    int32_t key_length; /* -1: none */
    const void *value;
    int32_t value_length;
    const struct record_header *headers;
    int32_t header_count;
    int64_t timestamp_ms;
    void *tag;
};

void accum_init(struct accum *a, struct producer_host *host, struct buf_pool *pool, const struct accum_config *config,
                uint64_t seed);
/* Everything in it must have ended. */
void accum_close(struct accum *a);

static inline void accum_lock(struct accum *a)
{
    if (a->host->lock != NULL) {
        a->host->lock(a->host);
    }
}

static inline void accum_unlock(struct accum *a)
{
    if (a->host->unlock != NULL) {
        a->host->unlock(a->host);
    }
}

/* Copy @r into its partition's open batch. *wake becomes true when the sender must take a turn for it (or for the
 * topic's metadata). Locked by the caller. Errors: ERR_BUFFER_FULL; ERR_LEADER_NOT_READY (the topic is not known yet:
 * again when changed() was called); ERR_UNKNOWN_TOPIC and other errors of the topic; ERR_INVALID (partition,
 * lengths, timestamp, name); ERR_TOO_BIG; ERR_NOMEM. */
int accum_append(struct accum *a, const struct accum_record *r, bool *wake) MUST_USE;

/* Seal all that is open. Returns the number to ask accum_flushed() for. Locked by the caller. */
uint64_t accum_flush(struct accum *a, bool *wake);
/* Every batch up to @number has ended and was told. Locked by the caller. */
bool accum_flushed(const struct accum *a, uint64_t number);

/* The sender's side: locked by the caller as well. */

/* Move to @out what the sender has room for. Returns when to look again. */
uint64_t accum_drain(struct accum *a, uint64_t now_ns, struct list *out);
/* From time to time: records without a key leave a partition that takes none, as while its leader is gone. */
void accum_unstick(struct accum *a);
/* End what has waited for longer than the delivery timeout without being handed to the sender: into a->expired. */
void accum_expire(struct accum *a, uint64_t now_ns);
/* End all that the sender never got, with @status: into a->expired. */
void accum_abort(struct accum *a, int status);
/* The topic has @count partitions, or @error. Errors: ERR_NOMEM. */
int accum_topic_update(struct accum *a, struct accum_topic *t, uint32_t count, int error) MUST_USE;
void accum_give_room(struct accum *a, struct producer_partition *p, unsigned batches);
/* @b has ended and was told: off the books. Its memory goes back unless requests still carry it. */
void accum_settle(struct accum *a, struct batch *b);
/* Nobody refers to @b any more: keep it for reuse. */
void accum_recycle(struct accum *a, struct batch *b);

#endif
