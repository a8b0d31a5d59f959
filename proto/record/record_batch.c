#include "proto/record/record_batch.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/base/crc32c.h"
#include "proto/base/cursor.h"
#include "proto/record/record_wire.h"

#define LENGTH_AT 8
#define EPOCH_AT 12
#define MAGIC_AT 16
#define PRODUCER_ID_AT 43
#define PRODUCER_EPOCH_AT 51
#define BASE_SEQUENCE_AT 53
#define CRC_AT 17

static int __attribute__((format(printf, 3, 4))) fail(int err, char *errmsg, const char *fmt, ...)
{
    va_list args;

    if (errmsg != NULL) {
        va_start(args, fmt);
        vsnprintf(errmsg, ERRMSG_SIZE, fmt, args);
        va_end(args);
    }
    return err;
}

int record_batch_peek(const uint8_t *bytes, size_t size, struct record_batch_header *out)
{
    struct record_batch_header h;
    struct cursor c;
    int32_t length;

    /* Older message sets have another layout but the magic at the same place: name the real reason first. */
    if (size > MAGIC_AT && bytes[MAGIC_AT] != RECORD_BATCH_MAGIC) {
        return ERR_VERSION;
    }
    cursor_init(&c, bytes, size);
    h.base_offset = cursor_i64_be(&c);
    length = cursor_i32_be(&c);
    if (cursor_failed(&c)) {
        return ERR_TORN;
    }
    if (length < RECORD_BATCH_HEADER_SIZE - RECORD_BATCH_LENGTH_END ||
        length > (int32_t)(RECORD_BATCH_SIZE_MAX - RECORD_BATCH_LENGTH_END)) {
        return ERR_MALFORMED;
    }
    h.size = (uint32_t)length + RECORD_BATCH_LENGTH_END;
    if (h.size > size) {
        return ERR_TORN;
    }
    h.leader_epoch = cursor_i32_be(&c);
    (void)cursor_i8_be(&c); /* magic, seen above */
    h.crc = cursor_u32_be(&c);
    h.attributes = (uint16_t)cursor_i16_be(&c);
    h.last_offset_delta = cursor_i32_be(&c);
    h.base_timestamp = cursor_i64_be(&c);
    h.max_timestamp = cursor_i64_be(&c);
    h.producer_id = cursor_i64_be(&c);
    h.producer_epoch = cursor_i16_be(&c);
    h.base_sequence = cursor_i32_be(&c);
    h.count = cursor_i32_be(&c);
    assert(!cursor_failed(&c));
    *out = h;
    return 0;
}

static uint32_t batch_crc(const uint8_t *bytes, size_t size)
{
    return crc32c(0, bytes + RECORD_BATCH_CRC_BEGIN, size - RECORD_BATCH_CRC_BEGIN);
}

bool record_batch_intact(const uint8_t *bytes, size_t size)
{
    struct cursor c;

    cursor_init(&c, bytes, size);
    (void)cursor_bytes(&c, CRC_AT);
    return size >= RECORD_BATCH_HEADER_SIZE && cursor_u32_be(&c) == batch_crc(bytes, size);
}

/* The header's fields that do not concern lengths. */
static int check_header(const struct record_batch_header *h, char *errmsg)
{
    if ((h->attributes & ~RECORD_ATTRIBUTE_KNOWN) != 0) {
        return fail(ERR_INVALID_RECORD, errmsg, "unknown attribute bits 0x%04x", h->attributes);
    }
    if (record_batch_is_control(h)) {
        return fail(ERR_INVALID_RECORD, errmsg, "a control batch from a producer");
    }
    if ((h->attributes & RECORD_ATTRIBUTE_APPEND_TIME) != 0) {
        return fail(ERR_INVALID_RECORD, errmsg, "timestamp type LogAppendTime from a producer");
    }
    if (!codec_known(record_batch_codec(h))) {
        return fail(ERR_UNSUPPORTED_CODEC, errmsg, "unknown codec %u", record_batch_codec(h));
    }
    if (h->count <= 0 || h->count > RECORD_BATCH_COUNT_MAX) {
        return fail(ERR_INVALID_RECORD, errmsg, "records count %d not in 1..%d", h->count, RECORD_BATCH_COUNT_MAX);
    }
    if (h->last_offset_delta != h->count - 1) {
        return fail(ERR_INVALID_RECORD, errmsg, "last offset delta %d with %d records", h->last_offset_delta, h->count);
    }
    if (h->base_timestamp < RECORD_TIMESTAMP_NONE || h->base_timestamp > RECORD_TIMESTAMP_MAX ||
        h->max_timestamp < RECORD_TIMESTAMP_NONE || h->max_timestamp > RECORD_TIMESTAMP_MAX) {
        return fail(ERR_INVALID_RECORD, errmsg, "timestamps %lld..%lld ms out of range", (long long)h->base_timestamp,
                    (long long)h->max_timestamp);
    }
    if (h->producer_id < -1) {
        return fail(ERR_INVALID_RECORD, errmsg, "producer id %lld", (long long)h->producer_id);
    }
    if (h->producer_id >= 0 && (h->producer_epoch < 0 || h->base_sequence < 0)) {
        return fail(ERR_INVALID_RECORD, errmsg, "producer id %lld with epoch %d and base sequence %d",
                    (long long)h->producer_id, h->producer_epoch, h->base_sequence);
    }
    if (h->producer_id < 0 && record_batch_is_transactional(h)) {
        return fail(ERR_INVALID_RECORD, errmsg, "a transactional batch without a producer id");
    }
    return 0;
}

static int check_records(const uint8_t *bytes, const struct record_batch_header *h, char *errmsg)
{
    const uint8_t *p = bytes + RECORD_BATCH_HEADER_SIZE;
    const uint8_t *end = bytes + h->size;
    struct wire_record r;

    for (int32_t i = 0; i < h->count; i++) {
        p = wire_record(p, end, &r);
        if (WIRE_UNLIKELY(p == NULL)) {
            return fail(ERR_MALFORMED, errmsg, "record %d of %d is malformed", i, h->count);
        }
        if (WIRE_UNLIKELY(r.offset_delta != i)) {
            return fail(ERR_INVALID_RECORD, errmsg, "record %d has offset delta %d", i, r.offset_delta);
        }
    }
    if (p != end) {
        return fail(ERR_MALFORMED, errmsg, "%zu bytes behind the last record", (size_t)(end - p));
    }
    return 0;
}

int record_batch_validate(const uint8_t *bytes, size_t size, const struct record_batch_limits *limits,
                          struct record_batch_header *out, char *errmsg)
{
    struct record_batch_header h;
    int rv;

    rv = record_batch_peek(bytes, size, &h);
    if (rv == ERR_VERSION) {
        return fail(ERR_VERSION, errmsg, "record format %d, only %d is supported", (int8_t)bytes[MAGIC_AT],
                    RECORD_BATCH_MAGIC);
    }
    if (size > limits->size_max) {
        return fail(ERR_BATCH_TOO_BIG, errmsg, "%zu bytes, the limit is %u", size, limits->size_max);
    }
    if (rv != 0 || h.size != size) {
        return fail(ERR_MALFORMED, errmsg, "%zu bytes are not exactly one batch", size);
    }
    if (!record_batch_intact(bytes, size)) {
        return fail(ERR_CORRUPT, errmsg, "crc mismatch");
    }
    rv = check_header(&h, errmsg);
    if (rv != 0) {
        return rv;
    }
    if (record_batch_codec(&h) == CODEC_NONE) {
        rv = check_records(bytes, &h, errmsg);
        if (rv != 0) {
            return rv;
        }
    }
    *out = h;
    return 0;
}

void record_batch_set_base_offset(uint8_t *bytes, int64_t base_offset)
{
    wire_put_be64(bytes, (uint64_t)base_offset);
}

void record_batch_set_leader_epoch(uint8_t *bytes, int32_t leader_epoch)
{
    wire_put_be32(bytes + EPOCH_AT, (uint32_t)leader_epoch);
}

void record_batch_set_producer(uint8_t *bytes, size_t size, int64_t producer_id, int16_t producer_epoch,
                               int32_t base_sequence)
{
    assert(size >= RECORD_BATCH_HEADER_SIZE);
    wire_put_be64(bytes + PRODUCER_ID_AT, (uint64_t)producer_id);
    wire_put_be16(bytes + PRODUCER_EPOCH_AT, (uint16_t)producer_epoch);
    wire_put_be32(bytes + BASE_SEQUENCE_AT, (uint32_t)base_sequence);
    wire_put_be32(bytes + CRC_AT, batch_crc(bytes, size));
}
