#include "node/shard/partition_lag.h"

#include <stdlib.h>

#include "node/shard/shard_internal.h"

static void finish(struct partition_lag *lag, int error)
{
    lag->error = error;
    shard_op_complete(&lag->op);
}

static void read_done(struct wal_read *read, int status)
{
    struct partition_lag *lag = container_of(read, struct partition_lag, read);
    if (status == 0) {
        lag->time_ms = (int64_t)read->entries[0]->time_ms;
        for (uint32_t i = 0; i < read->n; i++) {
            entry_release(read->entries[i]);
        }
        free(read->entries);
        read->entries = NULL;
    }
    finish(lag, status == ERR_NOT_FOUND ? ERR_LEADER_NOT_READY : status);
}

void partition_lag_run(struct shard *shard, struct shard_op *op)
{
    struct partition_lag *lag = container_of(op, struct partition_lag, op);
    struct partition *p = partition_find(shard, lag->group);
    int64_t from;
    uint64_t index = 0;
    int rv = p == NULL ? ERR_UNKNOWN_TOPIC : partition_check_leading(p);

    lag->time_ms = -1;
    if (rv != 0) {
        finish(lag, rv);
        return;
    }
    lag->log_start = partition_fsm_log_start(p->fsm);
    lag->high_watermark = partition_fsm_high_watermark(p->fsm);
    from = lag->offset < lag->log_start ? lag->log_start : lag->offset;
    if (from >= lag->high_watermark) {
        finish(lag, 0);
        return;
    }
    rv = partition_fsm_find_offset(p->fsm, from, &index);
    if (rv != 0) {
        finish(lag, rv);
        return;
    }
    lag->read = (struct wal_read){
        .group = p->id, .first = index, .n_max = 1, .bytes_max = SHARD_FETCH_BYTES_MAX, .done = read_done};
    if (group_read(p->group, &lag->read)) {
        read_done(&lag->read, 0);
    }
}
