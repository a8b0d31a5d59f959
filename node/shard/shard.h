/* One event loop per core with its own shard log and groups, and the set of them that a node has. The first shard's loop
 * is the hub: connections, peer links, the metadata group and all front doors live there; work for a partition of
 * another shard crosses over as a message (struct shard_op) and comes back as one.
 *
 * Which shard a group lives on follows from its id and the shard count, which is fixed in the data directory. */
#ifndef CAIRN_SHARD_H
#define CAIRN_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "node/fsm/group/coordinator.h"
#include "raft/env/env.h"
#include "raft/group/group.h"
#include "raft/wal/wal.h"

#define SHARDS_MAX 16
#define SHARD_FETCH_BYTES_MAX (8u << 20) /* a partition and fetch */

struct shard;
struct shards;
struct partition;

/* A piece of work for the shard of a group. The hub embeds it; @run on that shard's thread takes it over, and ends it by
 * shard_op_complete() exactly once, then or later; @done runs on the hub. On the hub's own shard both may happen inside
 * shards_submit(). */
struct shard_op {
    struct env_message message;
    struct shard *shard;
    void (*run)(struct shard *shard, struct shard_op *op);
    void (*done)(struct shard_op *op);
};

/* Up-calls, on the hub's thread. */
struct shards_ops {
    /* A message of a local group for a peer. Borrowed for the call. */
    int (*send)(void *data, uint32_t node, bool urgent, uint64_t group, const uint8_t *header, size_t size,
                struct entry *const *entries, size_t n);
    /* A local group's known leader changed; node 0: none known. */
    void (*leader)(void *data, uint64_t group, uint64_t term, uint32_t node);
    /* A local replica stopped for good (corruption): it is to be replaced under a new id. */
    void (*failed)(void *data, uint64_t group, uint64_t replica, int err);
    /* Inside shards_open(): every log is recovered (shard_wal, shard_recovery) and no replica was resumed yet. An error, with
     * @errmsg, ends the opening. May be NULL. */
    int (*recovered)(void *data, struct shards *set, char *errmsg);
};

struct shards_params {
    struct env *env; /* the hub's */
    const char *dir; /* data directory, exists; shard i has <dir>/shard-<i> */
    uint32_t count;
    uint32_t node;
    struct buf_pool *pool;
    uint64_t log_file_bytes;
    uint64_t log_max_bytes; /* a shard */
    uint64_t log_reserve_bytes;
    uint64_t cache_max_bytes; /* a shard */
    uint64_t memory_pressure_bytes; /* held out of the pool: above it caches shrink; 0: never */
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    const struct coordinator_config *groups; /* consumer groups; copied; NULL: the defaults */
    const struct shards_ops *ops;
    void *data;
};

/* Recovers every shard log and resumes every partition replica found there (their groups speak only after this turn; the
 * metadata group is opened by its owner). Errors: those of wal_open; @errmsg says what and where. */
int shards_open(const struct shards_params *params, struct shards **out, char *errmsg) MUST_USE;
/* Groups end, logs are flushed, other loops join, then @closed runs on the hub. */
void shards_close(struct shards *set, void (*closed)(void *data), void *data);
void shards_abandon(struct shards *set); /* frees without touching disk or callbacks: the node is gone (simulation) */

uint32_t shards_count(const struct shards *set);
struct shard *shards_at(struct shards *set, uint32_t i);
struct shard *shards_of_group(struct shards *set, uint64_t group);

/* Hub thread. */
void shards_submit(struct shards *set, uint64_t group, struct shard_op *op);
void shards_submit_to(struct shards *set, uint32_t shard, struct shard_op *op);
/* The shard's thread. */
void shard_op_complete(struct shard_op *op);

/* A peer's message for a local group; hub thread; borrowed for the call. */
void shards_receive(struct shards *set, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                    struct entry **entries, size_t n);

/* Hand every leadership that this node has to another replica (SIGTERM). Hub thread; fire and forget. */
void shards_hand_over(struct shards *set);

/* Inside of a shard, for the files of this room and for the owner of the metadata group (shard 0). */
struct env *shard_env(struct shard *shard);
struct wal *shard_wal(struct shard *shard);
struct group_host *shard_host(struct shard *shard);
const struct wal_recovery *shard_recovery(const struct shard *shard);

struct shard_stats {
    uint32_t groups;
    uint32_t leading;
    uint32_t ready; /* leading and serving */
    uint32_t failed;
    uint64_t log_bytes;
    uint64_t log_bytes_max;
    uint64_t produced_batches;
    uint64_t produced_bytes;
    uint64_t fetched_bytes;
    uint64_t duplicates;
    uint32_t consumer_groups; /* coordinated here, with members or joins under way */
    uint32_t consumer_group_members;
    uint64_t group_rebalances;
    uint64_t group_sessions_expired;
    uint64_t group_commits;
};

/* Fill @stats (by @done on the hub). Embeds the op. */
struct shard_stats_op {
    struct shard_op op;
    struct shard_stats stats;
};
void shard_stats_run(struct shard *shard, struct shard_op *op);

#endif
