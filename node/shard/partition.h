/* One replica of a partition on its shard: the group, the state machine that it feeds, and the requests that wait for
 * either. Addressed by group id; everything here is a struct shard_op to be submitted from the hub. */
#ifndef CAIRN_SHARD_PARTITION_H
#define CAIRN_SHARD_PARTITION_H

#include <stdint.h>

#include "node/fsm/partition/partition_fsm.h"
#include "node/shard/shard.h"

/* Where the caller should go instead, and what state the partition is in; part of every answer. */
struct partition_where {
    uint64_t leader_epoch; /* Raft term */
    uint32_t leader_node;  /* 0: none known */
    int64_t log_start;
    int64_t high_watermark;
};

/* Append one batch. @data is stamped in place (base offset, leader epoch).
 * Errors: ERR_NOT_LEADER, ERR_LEADER_NOT_READY, ERR_UNKNOWN_TOPIC no such replica here, ERR_NO_SPACE, ERR_BUSY,
 * ERR_INVALID_RECORD, ERR_BATCH_TOO_BIG, ERR_OUT_OF_ORDER_SEQUENCE, ERR_PRODUCER_FENCED, ERR_DUPLICATE_SEQUENCE,
 * ERR_UNKNOWN_OUTCOME: may or may not be committed (the same batch sent again never doubles it). */
struct partition_produce {
    struct shard_op op;
    uint64_t group;
    struct buf *buf; /* one reference, taken over; the slice [data, data + size) is this op's alone */
    uint8_t *data;
    uint32_t size;
    /* results */
    int error;
    char text[ERRMSG_SIZE]; /* with ERR_INVALID_RECORD and the like */
    int64_t base_offset;
    struct partition_where where;
    /* the partition's */
    struct group_proposal proposal;
    struct group_barrier barrier;
    struct list link;
    uint64_t term; /* the leadership that took it, or has its original in flight */
};
void partition_produce_run(struct shard *shard, struct shard_op *op);

/* Read committed batches from @offset on: at most @max_bytes (0: SHARD_FETCH_BYTES_MAX), but at least one batch if there is
 * any. Where there is none yet and @wait is set, the op is parked until there is, the leadership ends, the partition goes,
 * or partition_fetch_cancel(). Submitted again after its end it goes on behind what it has: batches are added. All that is
 * not set stays zero. Errors: ERR_NOT_LEADER, ERR_LEADER_NOT_READY, ERR_UNKNOWN_TOPIC, ERR_OFFSET_OUT_OF_RANGE (only
 * after a linearizable check), ERR_CORRUPT, ERR_IO. */
struct partition_fetch {
    struct shard_op op;
    uint64_t group;
    int64_t offset;
    uint32_t max_bytes;
    bool wait;
    /* results: whole batches, in order; the references and the array are the caller's (partition_fetch_release) */
    int error;
    struct partition_where where;
    struct entry **entries;
    uint32_t n;
    uint32_t bytes;
    /* the partition's */
    int64_t position; /* offset behind what it has */
    uint32_t reading_bytes; /* counted for the read under way */
    struct wal_read read;
    struct group_barrier barrier;
    struct list link;
    bool parked; /* @link is in a list: of those that wait for batches, or for their turn to read */
    uint64_t term; /* in which it was found that this replica leads */
    bool confirmed;
    bool cancelled;
    struct shard_op cancel;
};
void partition_fetch_run(struct shard *shard, struct shard_op *op);
/* Hub: un-park a submitted fetch; it then ends soon, with what it has. Its @done still runs, once. @cancelled runs when
 * the cancellation itself came back: the op's memory must live until both. */
void partition_fetch_cancel(struct shards *set, struct partition_fetch *fetch, void (*cancelled)(struct shard_op *op));
void partition_fetch_release(struct partition_fetch *fetch);

/* @time_ms -1: high watermark (linearizable); -2: log start; -3: the record with the newest time; else the first record at or
 * after that time (offset -1: none).
 * Errors as fetch. */
struct partition_list_offsets {
    struct shard_op op;
    uint64_t group;
    int64_t time_ms;
    int error;
    struct partition_where where;
    int64_t offset;
    int64_t timestamp_ms;
    uint64_t term; /* the leadership that answers */
    struct group_barrier barrier;
    struct wal_read read;
};
void partition_list_offsets_run(struct shard *shard, struct shard_op *op);

/* The newest leader epoch not newer than @asked, and the offset behind its last record; both -1 where @asked is newer than
 * every epoch. Linearizable. Errors as fetch. */
struct partition_epoch_end {
    struct shard_op op;
    uint64_t group;
    uint64_t asked;
    int error;
    struct partition_where where;
    int64_t epoch;
    int64_t end_offset;
    struct group_barrier barrier;
};
void partition_epoch_end_run(struct shard *shard, struct shard_op *op);

/* Make @offset (-1: the high watermark) the log start, by a replicated command: what is before it is not served any more. A lower
 * one than the log start changes nothing. Errors: as fetch, ERR_OFFSET_OUT_OF_RANGE above the high watermark, ERR_UNKNOWN_OUTCOME
 * (asking again is always right). */
struct partition_trim {
    struct shard_op op;
    uint64_t group;
    int64_t offset;
    int error;
    struct partition_where where; /* .log_start: as it is now */
    struct group_barrier barrier;
    struct group_proposal proposal;
};
void partition_trim_run(struct shard *shard, struct shard_op *op);

/* The local replica, for people. With @leader_only, errors as fetch; else ERR_UNKNOWN_TOPIC where there is none. */
struct partition_describe {
    struct shard_op op;
    uint64_t group;
    bool leader_only;
    bool with_producers;
    int error;
    struct partition_where where;
    int64_t bytes; /* of its record batches */
    struct partition_producer *producers; /* the caller's to free; NULL without memory or producers */
    uint32_t n_producers;
};
void partition_describe_run(struct shard *shard, struct shard_op *op);

/* Make the local replica exist: found, or join empty. Resumed ones exist already. Errors: those of group_found/join. */
struct partition_open {
    struct shard_op op;
    uint64_t group;
    uint64_t replica;
    bool founder;
    bool preferred;
    struct core_config founders; /* founding only */
    int error;
};
void partition_open_run(struct shard *shard, struct shard_op *op);

/* Delete the local replica, its records, and everybody who waits (ERR_UNKNOWN_TOPIC). Done when the tombstone stands. */
struct partition_delete {
    struct shard_op op;
    uint64_t group;
    int error;
};
void partition_delete_run(struct shard *shard, struct shard_op *op);

/* Settings that come from the topic's configs. */
struct partition_configure {
    struct shard_op op;
    uint64_t group;
    uint32_t message_max_bytes;
};
void partition_configure_run(struct shard *shard, struct shard_op *op);

/* Hand leadership to @node (0: whoever is furthest). */
struct partition_transfer {
    struct shard_op op;
    uint64_t group;
    uint32_t node;
    int error;
};
void partition_transfer_run(struct shard *shard, struct shard_op *op);

/* ---- for this room and the simulator's oracles ------------------------------------------------------------------ */

struct partition_fsm;
struct partition *partition_find(struct shard *shard, uint64_t group);
struct group *partition_group(struct partition *p);
const struct partition_fsm *partition_state(const struct partition *p);

#endif
