/* Build a record batch in one piece of memory, record by record: what a producer's send copies into. Nothing is
 * allocated per record or per batch. */
#ifndef CAIRN_RECORD_BUILDER_H
#define CAIRN_RECORD_BUILDER_H

#include "proto/record/record_batch.h"
#include "proto/record/record_iter.h"

struct record_builder {
    uint8_t *data; /* borrowed: the caller's arena, the batch grows from its start */
    size_t capacity;
    size_t position; /* bytes used, header included */
    int32_t count;
    bool finished;
    int64_t base_timestamp;
    int64_t max_timestamp;
};

/* What a finished batch carries besides its records. Zero is not a default: use RECORD_BATCH_PLAIN. */
struct record_batch_stamp {
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence;
    uint16_t attributes; /* RECORD_ATTRIBUTE_TRANSACTIONAL, RECORD_ATTRIBUTE_CONTROL; never codec bits */
    uint8_t codec;       /* enum codec */
};
#define RECORD_BATCH_PLAIN                                                                                             \
    ((struct record_batch_stamp){.producer_id = -1, .producer_epoch = -1, .base_sequence = -1, .codec = CODEC_NONE})

/* @memory (the caller's, of @capacity bytes, RECORD_BATCH_HEADER_SIZE < @capacity <= RECORD_BATCH_SIZE_MAX) must
 * outlive the builder and the finished batch. */
void record_builder_init(struct record_builder *b, uint8_t *memory, size_t capacity);

/* Start over in the same memory. */
void record_builder_reset(struct record_builder *b);

/* Copy one record in. Lengths of -1 mean null; @headers may be NULL when @header_count is 0; @timestamp in ms.
 * On error the batch is as it was.
 * Errors: ERR_BUFFER_FULL (finish this batch first), ERR_TOO_BIG (not even an empty batch has room), ERR_INVALID
 * (a length below -1, a header without a key, or a timestamp outside -1..RECORD_TIMESTAMP_MAX). */
int record_builder_append(struct record_builder *b, const void *key, int32_t key_length, const void *value,
                          int32_t value_length, const struct record_header *headers, int32_t header_count,
                          int64_t timestamp) MUST_USE;

static inline bool record_builder_empty(const struct record_builder *b)
{
    return b->count == 0;
}

/* Bytes of the batch as it would be now, uncompressed. */
static inline size_t record_builder_size(const struct record_builder *b)
{
    return b->position;
}

/* An upper bound of what one record adds to a batch, bytes. Lengths of -1 mean null; the lengths must be valid. */
size_t record_size_max(int32_t key_length, int32_t value_length, const struct record_header *headers,
                       int32_t header_count) MUST_USE;

/* Write the header and make the bytes at *out (the start of the memory) one batch with base offset 0. With a codec
 * other than CODEC_NONE the records are compressed through @scratch (else it may be NULL); where that does not make
 * them smaller the batch stays uncompressed. Until the next reset only record_batch_set_*() may touch it. Errors:
 * ERR_INVALID (no records), ERR_UNSUPPORTED_CODEC, ERR_NOMEM; the batch is then still open. */
int record_builder_finish(struct record_builder *b, const struct record_batch_stamp *stamp,
                          struct codec_scratch *scratch, uint8_t **out, size_t *size) MUST_USE;

#endif
