/* Inside of node/shard, shared by its files. */
#ifndef CAIRN_SHARD_INTERNAL_H
#define CAIRN_SHARD_INTERNAL_H

#include "node/fsm/partition/partition_fsm.h"
#include "node/shard/group_runtime.h"
#include "node/shard/partition.h"
#include "node/shard/shard.h"
#include "proto/record/record_iter.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define PARTITION_MESSAGE_MAX_BYTES_DEFAULT 1048588u /* until the topic's own is known, larger ones are put off */
#define SHARD_READING_MAX_BYTES (64u << 20) /* asked of the disk for fetches at a time, a shard; others wait their turn */
#define SHARD_READ_FAILURES_MAX 20 /* of one place in a row, for clients, ... */
#define SHARD_UNREADABLE_MS 1000   /* ... and for so long, before it counts as corrupt */
#define SHARD_READING_MIN_BYTES (1u << 20)  /* of that, for one of them */

struct partition {
    struct shard *shard;
    struct group *group;
    struct partition_fsm *fsm;
    uint64_t id; /* group id */
    uint64_t replica;
    uint32_t message_max_bytes; /* 0: not known yet */
    bool leading;
    bool ready;
    bool failed;
    uint64_t term;
    uint64_t unreadable;     /* where the disk failed a read for a client last (entry), ... */
    uint32_t unreadable_n;   /* ... how often in a row, ... */
    uint64_t unreadable_ms;  /* ... and since when */
    struct list duplicates; /* struct partition_produce: their original is in flight */
    struct list parked;     /* struct partition_fetch */
    struct list dirty;      /* in the shard's list: somebody who waits here may go on */
    UT_hash_handle hh;
};

struct shard {
    struct env *env;
    struct shards *set;
    uint32_t id;
    struct wal *wal;
    struct group_host *host;
    struct partition *partitions;
    struct list dirty;
    struct group_runtime *runtimes; /* replicas of internal groups */
    struct list dirty_runtimes;
    struct list readers; /* struct partition_fetch: for their turn to read */
    uint64_t reading_bytes;
    struct env_hook hook; /* behind the group host's: wakes those who wait */
    struct wal_recovery recovery;
    struct codec_scratch scratch; /* for reading times out of batches */
    uint64_t log_max_bytes;
    struct shard_stats stats;
};

struct shards {
    struct env *env;
    struct shards_ops ops;
    void *data;
    struct buf_pool *pool;
    uint64_t memory_pressure_bytes;
    struct coordinator_config groups;
    uint32_t count;
    uint32_t node;
    struct shard *shards[SHARDS_MAX];
    uint32_t closing; /* shards whose log is not closed yet */
    void (*closed)(void *data);
    void *closed_data;
};

static inline bool shard_is_hub(const struct shard *shard)
{
    return shard->id == 0;
}

/* A replica stopped for good: tell the hub. */
void shard_tell_failed(struct shard *shard, uint64_t group, uint64_t replica, int err);
/* Resume every replica that the shard log knows. */
int partition_resume_all(struct shard *shard) MUST_USE;
/* End everybody who waits, free all partitions of the shard; @silent: no callbacks (the node is gone). */
void partition_close_all(struct shard *shard, bool silent);
/* End of turn: let those who wait on changed partitions go on. */
void partition_wake_dirty(struct shard *shard);
void partition_mark_dirty(struct partition *p);
void partition_fill_where(const struct partition *p, struct partition_where *where);
/* ... at the end of what the leadership @term did: without an error that is who answers, though it may have been deposed, or
 * @p have gone (NULL), since. */
void partition_fill_end(const struct partition *p, struct partition_where *where, int error, uint64_t term);
/* 0, or why this replica cannot serve as the leader now. */
int partition_check_leading(const struct partition *p) MUST_USE;
void partition_wake_duplicates(struct partition *p);
void partition_wake_fetches(struct partition *p);
void partition_end_readers(struct shard *shard);

#endif
