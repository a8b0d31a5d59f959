/* The record batch: Kafka's v2 layout, the unit that producers send, groups replicate, disks hold and consumers read,
 * never re-encoded on the way. Everything here works in place on its bytes.
 *
 * Layout, big-endian:
 *    0 i64 base offset | 8 i32 length (of what follows: size - 12) | 12 i32 leader epoch | 16 i8 magic (2) | 17 u32 crc
 *   21 i16 attributes | 23 i32 last offset delta | 27 i64 base timestamp | 35 i64 max timestamp | 43 i64 producer id
 *   51 i16 producer epoch | 53 i32 base sequence | 57 i32 records count | 61 records
 * crc is the crc32c from byte 21 to the end: base offset and leader epoch lie outside it and can be stamped freely. */
#ifndef CAIRN_RECORD_BATCH_H
#define CAIRN_RECORD_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/record/codec.h"

#define RECORD_BATCH_HEADER_SIZE 61
#define RECORD_BATCH_LENGTH_END 12 /* bytes that the length field does not count */
#define RECORD_BATCH_CRC_BEGIN 21  /* first byte under the crc */
#define RECORD_BATCH_MAGIC 2
#define RECORD_BATCH_SIZE_MAX (16u << 20)      /* bytes of a whole batch: what one log entry can hold */
#define RECORD_SIZE_MIN 7                      /* bytes of the smallest record */
#define RECORD_TIMESTAMP_NONE (-1)             /* ms */
#define RECORD_TIMESTAMP_MAX 253402300799999ll /* ms: the end of the year 9999 */
#define RECORD_BATCH_COUNT_MAX ((int32_t)(CODEC_DECOMPRESSED_MAX / RECORD_SIZE_MIN))

#define RECORD_ATTRIBUTE_CODEC 0x07u
#define RECORD_ATTRIBUTE_APPEND_TIME 0x08u
#define RECORD_ATTRIBUTE_TRANSACTIONAL 0x10u
#define RECORD_ATTRIBUTE_CONTROL 0x20u
#define RECORD_ATTRIBUTE_KNOWN 0x3fu

struct record_batch_header {
    int64_t base_offset;
    uint32_t size; /* bytes of the whole batch, header included */
    int32_t leader_epoch;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp; /* ms */
    int64_t max_timestamp;  /* ms; what the producer claims (some never set it): use record_batch_timestamp() */
    int64_t producer_id;    /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count; /* records */
};

static inline uint8_t record_batch_codec(const struct record_batch_header *h)
{
    return h->attributes & RECORD_ATTRIBUTE_CODEC;
}

static inline bool record_batch_is_control(const struct record_batch_header *h)
{
    return (h->attributes & RECORD_ATTRIBUTE_CONTROL) != 0;
}

static inline bool record_batch_is_transactional(const struct record_batch_header *h)
{
    return (h->attributes & RECORD_ATTRIBUTE_TRANSACTIONAL) != 0;
}

/* One past the offset of the last record. */
static inline int64_t record_batch_offset_next(const struct record_batch_header *h)
{
    return (int64_t)((uint64_t)h->base_offset + (uint64_t)h->last_offset_delta + 1); /* may wrap where nobody checked */
}

/* The newest time in the batch as far as its header tells, ms. */
static inline int64_t record_batch_timestamp(const struct record_batch_header *h)
{
    return h->max_timestamp > h->base_timestamp ? h->max_timestamp : h->base_timestamp;
}

/* Read the header of the batch at @bytes, of which @size bytes are there. Checks only what walking over batches needs:
 * magic, and that 61 <= out->size <= min(@size, RECORD_BATCH_SIZE_MAX). To walk a run of batches, step by out->size:
 * ERR_TORN at its end means that the last batch is cut.
 * Errors: ERR_TORN (the batch goes on past @size), ERR_VERSION (magic), ERR_MALFORMED (length). */
int record_batch_peek(const uint8_t *bytes, size_t size, struct record_batch_header *out) MUST_USE;

/* True when the batch at @bytes, whose size a peek gave, has the crc that it names. */
bool record_batch_intact(const uint8_t *bytes, size_t size);

struct record_batch_limits {
    uint32_t size_max; /* bytes of the whole batch: max.message.bytes */
};

/* All that a broker checks on what a producer sent: @bytes must be exactly one batch. An uncompressed batch's records
 * are walked: lengths add up exactly, offset deltas run 0..count-1. Of a compressed one only header and crc are checked
 * (opening it would cost the shard's loop milliseconds, and only its own readers suffer from what is inside).
 * Fills @out on success; on error writes why to @errmsg (ERRMSG_SIZE bytes, NULL allowed). Allocates nothing.
 * Errors: ERR_MALFORMED (lengths), ERR_VERSION (magic), ERR_BATCH_TOO_BIG, ERR_CORRUPT (crc), ERR_UNSUPPORTED_CODEC
 * (not in the codec table), ERR_INVALID_RECORD (all else). */
int record_batch_validate(const uint8_t *bytes, size_t size, const struct record_batch_limits *limits,
                          struct record_batch_header *out, char *errmsg) MUST_USE;

/* Stamps outside the crc; @bytes holds at least a header. */
void record_batch_set_base_offset(uint8_t *bytes, int64_t base_offset);
void record_batch_set_leader_epoch(uint8_t *bytes, int32_t leader_epoch);

/* Stamp a finished batch of @size bytes anew (a producer that bumped its epoch) and recompute its crc. */
void record_batch_set_producer(uint8_t *bytes, size_t size, int64_t producer_id, int16_t producer_epoch,
                               int32_t base_sequence);

#endif
