/* What a partition remembers of its idempotent producers: epoch and the last batches of each (KIP-98). */
#ifndef CAIRN_FSM_PRODUCERS_H
#define CAIRN_FSM_PRODUCERS_H

#include <stdint.h>

#include "node/fsm/partition/partition_fsm.h"

struct producer_batch {
    int32_t first; /* sequence numbers */
    int32_t last;
    int64_t base_offset;
};

struct producers;
struct producer {
    int64_t id;
    int16_t epoch;
    uint8_t n;         /* batches remembered, oldest first; >= 1 */
    uint32_t inflight; /* of @batches and before, proposed and not applied (in-flight table only) */
    int64_t time_ms;   /* of its newest batch */
    struct producer_batch batches[PARTITION_PRODUCER_BATCHES];
    struct producer *older; /* links by time of the newest batch: for expiry */
    struct producer *newer;
};

enum producer_verdict { PRODUCER_NEXT, PRODUCER_DUPLICATE, PRODUCER_DUPLICATE_OLD, PRODUCER_FENCED, PRODUCER_GAP };

struct producers *producers_new(void);
void producers_free(struct producers *t);
void producers_clear(struct producers *t);
struct producer *producers_find(const struct producers *t, int64_t id);
int producers_copy(struct producers *t, const struct producer *from) MUST_USE;
/* Remember a batch as the newest one of its producer. Errors: ERR_NOMEM. */
int producers_note(struct producers *t, const struct record_batch_header *batch, int64_t base_offset, int64_t time_ms) MUST_USE;
void producers_remove(struct producers *t, struct producer *p);
/* Forget those whose newest batch is older than @time_ms, and the longest silent ones above @count_max. */
void producers_expire(struct producers *t, int64_t time_ms, uint32_t count_max);
/* The one that has been silent longest; go on by ->newer. NULL: there is none. */
const struct producer *producers_oldest(const struct producers *t);
uint32_t producers_count(const struct producers *t);
uint32_t producers_digest(const struct producers *t, uint32_t crc); /* does not depend on the table's order */

/* Judge a batch against what is remembered; with DUPLICATE *base_offset is the original's. */
enum producer_verdict producer_judge(const struct producer *p, const struct record_batch_header *batch,
                                     int64_t *base_offset);

#endif
