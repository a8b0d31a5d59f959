/* Where each committed batch of a partition stands: base offset -> Raft index, and its newest time. 24 bytes a batch, in
 * chunks, so that growing never copies. (Sealed segments will carry their own index on disk.) */
#ifndef CAIRN_FSM_BATCH_INDEX_H
#define CAIRN_FSM_BATCH_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define BATCH_INDEX_CHUNK 1024 /* batches a chunk */

struct batch_place {
    int64_t base_offset;
    uint64_t index;
    int64_t time_max; /* newest time of this batch and all before it: never decreasing, so it can be searched */
};

struct batch_index {
    struct batch_place **chunks;
    size_t n_chunks;
    size_t chunks_capacity;
    size_t count;
};

void batch_index_init(struct batch_index *b);
void batch_index_close(struct batch_index *b);
int batch_index_push(struct batch_index *b, int64_t base_offset, uint64_t index, int64_t time_ms) MUST_USE;
void batch_index_pop(struct batch_index *b); /* take the last push back */

/* The batch with the greatest base offset <= @offset. Errors: ERR_OFFSET_OUT_OF_RANGE before the first. */
int batch_index_find_offset(const struct batch_index *b, int64_t offset, uint64_t *index) MUST_USE;
/* The first batch whose time_max >= @time_ms. Errors: ERR_NOT_FOUND. */
int batch_index_find_time(const struct batch_index *b, int64_t time_ms, int64_t *base_offset, uint64_t *index) MUST_USE;
/* The newest time of all. Errors: ERR_NOT_FOUND empty. */
int batch_index_newest_time(const struct batch_index *b, int64_t *time_ms) MUST_USE;
uint32_t batch_index_digest(const struct batch_index *b, uint32_t crc);

#endif
