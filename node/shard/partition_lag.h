/* How far a reader at some offset is behind the end of a partition: asked of the partition's leader by the coordinators of
 * consumer groups. Not linearizable: it is for people and dashboards. */
#ifndef CAIRN_SHARD_PARTITION_LAG_H
#define CAIRN_SHARD_PARTITION_LAG_H

#include "node/shard/shard.h"

/* Errors: ERR_UNKNOWN_TOPIC no such replica here, ERR_NOT_LEADER, ERR_LEADER_NOT_READY, ERR_IO, ERR_CORRUPT. */
struct partition_lag {
    struct shard_op op;
    uint64_t group;
    int64_t offset;
    /* results */
    int error;
    int64_t log_start;
    int64_t high_watermark;
    int64_t time_ms; /* when the batch with the first record at or after @offset was appended; -1: there is none */
    struct wal_read read;
};
void partition_lag_run(struct shard *shard, struct shard_op *op);

#endif
