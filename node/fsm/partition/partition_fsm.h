/* A partition's state machine: offsets, producer state and the place of each batch, derived from the group's committed
 * entries alone. Pure: no clock, no I/O; equal entries give equal states (partition_fsm_digest).
 *
 * Beside the applied state it keeps what the leader has proposed and not yet seen applied ("in flight"), against which
 * new batches are judged; that part dies at step-down (partition_fsm_drop_inflight). */
#ifndef CAIRN_FSM_PARTITION_H
#define CAIRN_FSM_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/entry.h"
#include "proto/record/record_batch.h"

#define PARTITION_PRODUCER_BATCHES 5                /* remembered a producer (KIP-98; clients keep at most 5 in flight) */
#define PARTITION_PRODUCER_EXPIRY_MS (24LL * 3600 * 1000) /* by entry time; longer than any delivery timeout */
#define PARTITION_COMMAND_VERSION 1                       /* newest that this program knows */
#define PARTITION_COMMAND_METADATA_VERSION 2 /* commands of partitions are proposed when every node has at least this one */
#define PARTITION_PRODUCERS_MAX 100000u             /* a partition; beyond it the longest silent one is forgotten */

struct partition_fsm;

struct partition_fsm *partition_fsm_new(void);
void partition_fsm_free(struct partition_fsm *p);

/* Apply a committed entry: BATCH moves offsets and producer state, COMMAND the log start, others only time and epochs.
 * Errors (the replica must stop): ERR_MALFORMED, ERR_CORRUPT offsets do not continue, ERR_NOMEM, ERR_VERSION a command newer
 * than this program. */
int partition_fsm_apply(struct partition_fsm *p, const struct entry *entry) MUST_USE;

int64_t partition_fsm_log_start(const struct partition_fsm *p);
int64_t partition_fsm_high_watermark(const struct partition_fsm *p); /* one past the last committed record */
int64_t partition_fsm_bytes(const struct partition_fsm *p); /* of all batches, trimmed ones too */
/* What is remembered of producers, for people: at most @n_max, those silent longest first. Returns how many. */
struct partition_producer {
    int64_t id;
    int16_t epoch;
    int32_t last_sequence;
    int64_t time_ms;
};
uint32_t partition_fsm_list_producers(const struct partition_fsm *p, struct partition_producer *out, uint32_t n_max);
/* A checksum over the whole applied state, in-flight left out. */
uint32_t partition_fsm_digest(const struct partition_fsm *p);
uint32_t partition_fsm_producers(const struct partition_fsm *p);

/* ---- the leader's judgement ------------------------------------------------------------------------------------- */

enum partition_verdict {
    PARTITION_APPEND,         /* new: stamp @base_offset and propose */
    PARTITION_DUPLICATE,      /* committed before: answer success with @base_offset */
    PARTITION_DUPLICATE_INFLIGHT, /* the original is proposed: answer when the high watermark passes @base_offset */
    PARTITION_OUT_OF_ORDER,   /* a gap in the sequence, or a new epoch that does not begin at 0 */
    PARTITION_FENCED,         /* an older epoch */
    PARTITION_DUPLICATE_OLD   /* older than the remembered batches: was committed, its offset is forgotten */
};

/* Judge a validated batch against applied and in-flight state. Changes nothing.
 * OUT_OF_ORDER and FENCED may be told to a producer only after a linearizable check: a stale leader that says them kills
 * good producers. */
enum partition_verdict partition_fsm_judge(const struct partition_fsm *p, const struct record_batch_header *batch,
                                           int64_t *base_offset);

/* The batch was handed to the group at @base_offset. Errors: ERR_NOMEM, nothing was changed. */
int partition_fsm_inflight(struct partition_fsm *p, const struct record_batch_header *batch, int64_t base_offset) MUST_USE;
void partition_fsm_drop_inflight(struct partition_fsm *p);
/* The offset that the next proposed batch gets. */
int64_t partition_fsm_offset_next(const struct partition_fsm *p);

/* ---- where things stand ----------------------------------------------------------------------------------------- */

/* Raft index of the committed batch that holds @offset (log start <= offset < high watermark).
 * Errors: ERR_OFFSET_OUT_OF_RANGE. */
int partition_fsm_find_offset(const struct partition_fsm *p, int64_t offset, uint64_t *index) MUST_USE;

/* The first committed batch whose newest time is at or after @time_ms: its base offset and index. Errors:
 * ERR_NOT_FOUND none. */
/* ERR_NOT_FOUND also where all that is new enough was trimmed. */
int partition_fsm_find_time(const struct partition_fsm *p, int64_t time_ms, int64_t *base_offset, uint64_t *index) MUST_USE;

/* The newest time of any record as the batches tell it. Errors: ERR_NOT_FOUND there is none. */
int partition_fsm_newest_time(const struct partition_fsm *p, int64_t *time_ms) MUST_USE;

/* The newest leader epoch not newer than @asked, and the offset behind its last record. Errors: ERR_NOT_FOUND @asked is newer
 * than all that is applied. */
int partition_fsm_epoch_end(const struct partition_fsm *p, uint64_t asked, uint64_t *epoch, int64_t *end_offset) MUST_USE;

/* A command that makes @offset the log start: what is before it is not served any more. One that is lower than the log start,
 * when it is applied, or above the high watermark counts as those. NULL: out of memory. */
struct entry *partition_fsm_trim_entry(int64_t offset);

#endif
