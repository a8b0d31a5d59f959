/* The consumer: keeps a bounded amount of each partition fetched ahead, in order, without gaps or duplicates, whoever
 * leads the partition. The program's thread takes chunks of whole batches and opens them itself.
 *
 * Shared with that thread are the fields so marked, under one mutex of the consumer (host->lock; none in the
 * simulator). Per chunk one small allocation; nothing per record. */
#ifndef CAIRN_CLIENT_CONSUMER_H
#define CAIRN_CLIENT_CONSUMER_H

#include <stdbool.h>
#include <stdint.h>

#include "client/src/core/core.h"
#include "client/src/core/membership.h"

struct request;
struct frame;

#define CONSUMER_EARLIEST (-2)
#define CONSUMER_LATEST (-1)

enum consumer_policy { POLICY_ERROR, POLICY_EARLIEST, POLICY_LATEST };

struct consumer_config {
    enum consumer_policy on_out_of_range;
    uint32_t fetch_max_bytes;
    uint64_t prefetch_max_bytes; /* a partition */
    uint32_t fetch_max_wait_ms;
    struct membership_config group;
};

struct consumer_host {
    void (*lock)(struct consumer_host *host);    /* may be NULL: one thread */
    void (*unlock)(struct consumer_host *host);  /* may be NULL */
    void (*changed)(struct consumer_host *host); /* there is a chunk, or an event of the group. Called locked, from the
                                                    core. May be NULL */
};

/* Whole batches of one partition, or an error. Whoever takes it frees it. */
struct chunk {
    struct list link;
    struct consumer_partition *partition; /* valid as long as it is assigned */
    int status;
    struct buf *buf; /* a reference; NULL with an error */
    const uint8_t *bytes;
    size_t size;
    int64_t begin; /* records below are not wanted: a fetch gives whole batches */
    int64_t end;   /* the offset behind the last record */
};

enum consumer_state {
    CONSUME_RESOLVE, /* earliest or latest has yet to become an offset */
    CONSUME_FETCH,
    CONSUME_STOPPED /* an error was told: waits for a seek */
};

struct consumer_partition {
    struct list link; /* consumer->partitions */
    struct consumer *consumer;
    char topic[CLIENT_TOPIC_NAME_MAX + 1];
    uint32_t partition;

    /* Shared. */
    int64_t position;         /* what the next poll gives, or CONSUMER_EARLIEST, CONSUMER_LATEST */
    uint64_t generation;      /* counts seeks */
    int64_t done_offset;      /* the program is through with what lies below; -1: not known */
    int64_t committed_offset; /* by the group; -1: none, or not known */
    int64_t high_watermark;   /* -1: not known */
    int64_t log_start;        /* -1: not known */
    uint64_t buffered_bytes;  /* in chunks not yet taken */
    bool paused;
    bool removed;

    /* The core's. */
    enum consumer_state state;
    uint64_t generation_seen;
    struct meta_topic *meta;
    bool topic_known;
    uint8_t topic_id[16]; /* that the offsets are of: another topic may come by the name */
    int64_t fetch_offset;
    enum consumer_policy resolve_to; /* while CONSUME_RESOLVE */
    bool asking;                     /* a request of this generation is under way */
    unsigned refs;                   /* requests that name it */
    unsigned attempts;
    uint64_t retry_ns;
    uint64_t trouble_ns; /* since when the topic is said not to exist; 0: it is not */
};

struct consumer_pick {
    struct consumer_partition *partition;
    struct conn *conn; /* NULL once asked for */
};

struct consumer {
    struct list link; /* core->consumers */
    struct core *core;
    struct consumer_host *host;
    struct consumer_config config;
    struct membership *group; /* NULL: in none */
    struct list partitions;
    struct list chunks; /* shared: ready to be taken */
    bool attention;     /* shared: somebody changed something */
    uint64_t meta_generation;
    uint64_t wake_ns; /* the earliest retry */
    unsigned requests;
    bool closed;
    struct consumer_pick *picks;
    size_t picks_count;
    size_t picks_capacity;
};

void consumer_config_init(struct consumer_config *config);

/* @host is borrowed until consumer_close(). Errors: ERR_NOMEM. */
int consumer_new(struct core *core, struct consumer_host *host, const struct consumer_config *config,
                 struct consumer **out) MUST_USE;
/* Chunks not yet taken are freed. Not inside a turn. */
void consumer_close(struct consumer *c);
void consumer_turn(struct consumer *c);

static inline void consumer_lock(struct consumer *c)
{
    if (c->host != NULL && c->host->lock != NULL) {
        c->host->lock(c->host);
    }
}

static inline void consumer_unlock(struct consumer *c)
{
    if (c->host != NULL && c->host->unlock != NULL) {
        c->host->unlock(c->host);
    }
}

/* The program's side: locked by the caller; the core needs a turn afterwards where *wake becomes true. */

/* NULL: not assigned. */
struct consumer_partition *consumer_find(struct consumer *c, const char *topic, uint32_t partition);
/* Errors: ERR_INVALID (topic, offset), ERR_NOMEM. */
int consumer_assign(struct consumer *c, const char *topic, uint32_t partition, int64_t offset, bool *wake) MUST_USE;
void consumer_unassign(struct consumer *c, struct consumer_partition *p, bool *wake);
void consumer_seek(struct consumer *c, struct consumer_partition *p, int64_t offset, bool *wake);
void consumer_pause(struct consumer *c, struct consumer_partition *p, bool paused, bool *wake);
/* The program is through with everything below @offset: it may be committed. */
void consumer_processed(struct consumer_partition *p, int64_t offset);
/* The next chunk, or NULL. The partition's position moves behind it. In a group: only when membership_take() gave
 * nothing.
 */
struct chunk *consumer_take(struct consumer *c, bool *wake);
void chunk_free(struct chunk *chunk);

/* Between the consumer's files. */

/* Put @chunk before the program. Locked. */
void consumer_give(struct consumer *c, struct chunk *chunk);
/* Tell the program of @status at the partition's position. Locked. */
void consumer_tell(struct consumer_partition *p, int status);
/* Ask again after a pause (none at the first trouble where @at_once). Locked. */
void consumer_later(struct consumer_partition *p, bool at_once);
/* No turn before @when_ns is needed for what waits. Locked. */
void consumer_wake_at(struct consumer *c, uint64_t when_ns);
void consumer_destroy(struct consumer *c);
/* Send list-offsets and fetch requests for all that are due. Locked. */
void consumer_ask(struct consumer *c);

#endif
