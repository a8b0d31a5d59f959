/* A producer's batch: the arena that records are copied into, and what became of it. */
#ifndef CAIRN_CLIENT_BATCH_H
#define CAIRN_CLIENT_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/list.h"
#include "proto/record/record_builder.h"

struct producer_partition;

enum batch_state {
    BATCH_OPEN,   /* takes records (accum) */
    BATCH_SEALED, /* full or due (accum) */
    BATCH_QUEUED, /* the sender's: to be sent, for the first time or again */
    BATCH_SENT,   /* on the wire, unanswered */
    BATCH_DONE    /* its status is known */
};

struct batch {
    struct list all_link; /* accum->all: every batch not yet told about, oldest first */
    struct list link;     /* partition->sealed, then partition->queue, then done lists */
    struct producer_partition *partition;
    struct buf *memory;
    struct record_builder builder;
    void **tags; /* one a record, kept with the struct when it is reused */
    uint32_t tags_capacity;
    uint64_t number;     /* in order of creation */
    uint64_t created_ns; /* by its first record */

    /* The sender's. */
    enum batch_state state;
    uint8_t *bytes; /* finished, in @memory */
    size_t size;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t sequence;
    uint32_t attempt;  /* counts sends; an answer to an older one is stale */
    unsigned requests; /* that carry it: its memory stays until they are gone */
    bool stamped;      /* has id, epoch and sequence of the partition's present epoch */
    bool ever_sent;
    bool ambiguous;  /* some attempt may have been written, and nobody told */
    bool sent_first; /* this attempt went out with nothing unanswered before it */
    bool told;       /* handed to the owner: only requests keep it */
    int status;
    int64_t base_offset;
    char *text; /* the node's words on an error, or NULL */
};

/* With an arena of @capacity bytes. NULL: out of memory. */
struct batch *batch_new(struct buf_pool *pool, size_t capacity);
void batch_free(struct batch *b);
/* Make a used one fresh: as batch_new. False: out of memory, the batch is as it was. */
bool batch_renew(struct batch *b, struct buf_pool *pool, size_t capacity);
/* Give the arena back. */
void batch_drop_memory(struct batch *b);
/* Move to an arena of @capacity bytes, larger than the present one. Errors: ERR_NOMEM. */
int batch_grow(struct batch *b, struct buf_pool *pool, size_t capacity) MUST_USE;
/* Room for the next record's tag. Errors: ERR_NOMEM. */
int batch_reserve_tag(struct batch *b) MUST_USE;

/* Close the batch under this identity; compresses. Stamps anew when it was finished before (then no request may still
 * carry it). Errors: ERR_NOMEM. */
int batch_stamp(struct batch *b, int64_t producer_id, int16_t producer_epoch, int32_t sequence, uint8_t codec,
                struct codec_scratch *scratch) MUST_USE;

#endif
