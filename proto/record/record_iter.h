/* Walk the records of one batch, whoever made it: consumers, compaction, tests. */
#ifndef CAIRN_RECORD_ITER_H
#define CAIRN_RECORD_ITER_H

#include "proto/record/record_batch.h"

/* Null keys and values have length -1 and a NULL pointer. All pointers lie inside the batch or the scratch. */
struct record {
    int64_t offset;
    int64_t timestamp; /* ms */
    const uint8_t *key;
    const uint8_t *value;
    int32_t key_length;
    int32_t value_length;
    int32_t header_count;
    const uint8_t *headers; /* encoded; read them with record_header_next() */
    const uint8_t *headers_end;
};

struct record_header {
    const uint8_t *key; /* never null, may be empty */
    const uint8_t *value;
    int32_t key_length;
    int32_t value_length;
};

struct record_iter {
    struct record_batch_header batch;
    const uint8_t *next;
    const uint8_t *end;
    int32_t left;       /* records */
    int32_t delta_last; /* offset delta of the last record yielded, -1 before the first */
    int err;
};

/* Start on the batch at @bytes, of which @size bytes are there. Does not check the crc (record_batch_intact() does),
 * nor that offsets are dense: compaction leaves gaps. A compressed batch is decompressed into @scratch, which must then
 * stay untouched until the walk is over; @scratch NULL: only uncompressed batches. Errors: those of record_batch_peek;
 * ERR_UNSUPPORTED_CODEC; ERR_TOO_BIG (more than the scratch's limit); ERR_NOMEM; ERR_MALFORMED. */
int record_iter_init(struct record_iter *it, const uint8_t *bytes, size_t size, struct codec_scratch *scratch) MUST_USE;

/* The next record; false at the end or on an error. */
bool record_iter_next(struct record_iter *it, struct record *record) MUST_USE;

/* After false: 0 when the batch held exactly the records it names, else ERR_MALFORMED. */
int record_iter_error(const struct record_iter *it);

/* The next header of a record that record_iter_next() gave; false when there are no more. Consumes from @record. */
bool record_header_next(struct record *record, struct record_header *header) MUST_USE;

#endif
