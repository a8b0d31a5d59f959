#include "proto/record/record_builder.h"

#include <assert.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/record/record_wire.h"

#define VARINT32_MAX 5  /* bytes */
#define VARINT64_MAX 10 /* bytes */

void record_builder_init(struct record_builder *b, uint8_t *memory, size_t capacity)
{
    assert(capacity > RECORD_BATCH_HEADER_SIZE && capacity <= RECORD_BATCH_SIZE_MAX);
    b->data = memory;
    b->capacity = capacity;
    record_builder_reset(b);
}

void record_builder_reset(struct record_builder *b)
{
    b->position = RECORD_BATCH_HEADER_SIZE;
    b->count = 0;
    b->finished = false;
    b->base_timestamp = RECORD_TIMESTAMP_NONE;
    b->max_timestamp = RECORD_TIMESTAMP_NONE;
}

/* Bytes of a length and what it counts, -1 for null. */
static inline size_t bytes_size(int32_t length)
{
    return wire_varint_size(wire_zigzag(length)) + (length > 0 ? (size_t)length : 0);
}

static inline uint8_t *put_bytes(uint8_t *p, const void *bytes, int32_t length)
{
    p = wire_put_varint(p, wire_zigzag(length));
    if (length > 0) {
        memcpy(p, bytes, (size_t)length);
        p += length;
    }
    return p;
}

/* Bytes of all headers without their count. False: one of them is not allowed. */
static bool headers_size(const struct record_header *headers, int32_t count, size_t *size)
{
    *size = 0;
    if (count < 0) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        if (headers[i].key_length < 0 || headers[i].value_length < -1) {
            return false;
        }
        *size += bytes_size(headers[i].key_length) + bytes_size(headers[i].value_length);
    }
    return true;
}

static uint8_t *put_headers(uint8_t *p, const struct record_header *headers, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        p = put_bytes(p, headers[i].key, headers[i].key_length);
        p = put_bytes(p, headers[i].value, headers[i].value_length);
    }
    return p;
}

/* Why a record of @length bytes (its length field not counted) found no room. In an empty batch its deltas would be 0.
 */
static int no_room(const struct record_builder *b, size_t length, uint64_t timestamp_raw, uint64_t offset_raw)
{
    length -= wire_varint_size(timestamp_raw) + wire_varint_size(offset_raw) - 2;
    if (length + wire_varint_size((uint64_t)length << 1) > b->capacity - RECORD_BATCH_HEADER_SIZE) {
        return ERR_TOO_BIG;
    }
    return ERR_BUFFER_FULL;
}

int record_builder_append(struct record_builder *b, const void *key, int32_t key_length, const void *value,
                          int32_t value_length, const struct record_header *headers, int32_t header_count,
                          int64_t timestamp)
{
    uint64_t timestamp_raw;
    uint64_t offset_raw;
    size_t headers_bytes = 0;
    size_t length;
    size_t size;
    uint8_t *p;

    assert(!b->finished);
    if (WIRE_UNLIKELY(key_length < -1 || value_length < -1 || timestamp < RECORD_TIMESTAMP_NONE ||
                      timestamp > RECORD_TIMESTAMP_MAX)) {
        return ERR_INVALID;
    }
    if (header_count != 0 && !headers_size(headers, header_count, &headers_bytes)) {
        return ERR_INVALID;
    }
    if (b->count == 0) {
        b->base_timestamp = timestamp; /* no harm if this record finds no room: the next one sets it again */
    }
    timestamp_raw = wire_zigzag(timestamp - b->base_timestamp);
    offset_raw = wire_zigzag(b->count);
    length = 1 + wire_varint_size(timestamp_raw) + wire_varint_size(offset_raw) + bytes_size(key_length) +
             bytes_size(value_length) + wire_varint_size(wire_zigzag(header_count)) + headers_bytes;
    size = length + wire_varint_size((uint64_t)length << 1);
    if (WIRE_UNLIKELY(size > b->capacity - b->position || b->count == RECORD_BATCH_COUNT_MAX)) {
        return no_room(b, length, timestamp_raw, offset_raw);
    }
    p = b->data + b->position;
    p = wire_put_varint(p, (uint64_t)length << 1);
    *p++ = 0; /* attributes */
    p = wire_put_varint(p, timestamp_raw);
    p = wire_put_varint(p, offset_raw);
    p = put_bytes(p, key, key_length);
    p = put_bytes(p, value, value_length);
    p = wire_put_varint(p, wire_zigzag(header_count));
    p = put_headers(p, headers, header_count);
    b->position += size;
    assert(p == b->data + b->position);
    b->count++;
    if (timestamp > b->max_timestamp) {
        b->max_timestamp = timestamp;
    }
    return 0;
}

size_t record_size_max(int32_t key_length, int32_t value_length, const struct record_header *headers,
                       int32_t header_count)
{
    size_t headers_bytes;
    bool ok = headers_size(headers, header_count, &headers_bytes);

    assert(ok && key_length >= -1 && value_length >= -1);
    return VARINT32_MAX + 1 + VARINT64_MAX + VARINT32_MAX + bytes_size(key_length) + bytes_size(value_length) +
           VARINT32_MAX + headers_bytes;
}

/* Replace the records by their compressed form where that is smaller. *codec becomes what they now are. */
static int compress_records(struct record_builder *b, struct codec_scratch *scratch, uint8_t *codec)
{
    uint8_t *records = b->data + RECORD_BATCH_HEADER_SIZE;
    const uint8_t *out;
    size_t size;
    int rv;

    if (*codec == CODEC_NONE) {
        return 0;
    }
    if (scratch == NULL) {
        return ERR_UNSUPPORTED_CODEC;
    }
    rv = codec_compress(scratch, *codec, records, b->position - RECORD_BATCH_HEADER_SIZE, &out, &size);
    if (rv == ERR_TOO_BIG) {
        *codec = CODEC_NONE;
        return 0;
    }
    if (rv != 0) {
        return rv;
    }
    memcpy(records, out, size);
    b->position = RECORD_BATCH_HEADER_SIZE + size;
    return 0;
}

int record_builder_finish(struct record_builder *b, const struct record_batch_stamp *stamp,
                          struct codec_scratch *scratch, uint8_t **out, size_t *size)
{
    uint8_t *h = b->data;
    uint8_t codec = stamp->codec;
    int rv;

    assert(!b->finished);
    assert((stamp->attributes & ~(RECORD_ATTRIBUTE_TRANSACTIONAL | RECORD_ATTRIBUTE_CONTROL)) == 0);
    if (b->count == 0) {
        return ERR_INVALID;
    }
    rv = compress_records(b, scratch, &codec);
    if (rv != 0) {
        return rv;
    }
    wire_put_be64(h, 0);
    wire_put_be32(h + 8, (uint32_t)(b->position - RECORD_BATCH_LENGTH_END));
    wire_put_be32(h + 12, (uint32_t)-1);
    h[16] = RECORD_BATCH_MAGIC;
    wire_put_be16(h + 21, (uint16_t)(stamp->attributes | codec));
    wire_put_be32(h + 23, (uint32_t)(b->count - 1));
    wire_put_be64(h + 27, (uint64_t)b->base_timestamp);
    wire_put_be64(h + 35, (uint64_t)b->max_timestamp);
    wire_put_be32(h + 57, (uint32_t)b->count);
    record_batch_set_producer(h, b->position, stamp->producer_id, stamp->producer_epoch, stamp->base_sequence);
    b->finished = true;
    *out = b->data;
    *size = b->position;
    return 0;
}
