/* Inner loops of the record room: varints and one record's fields, inline because they run once a record (a cursor's
 * sticky error costs a test and a store a byte). Bounds are checked at every step. Private to proto/record. */
#ifndef CAIRN_RECORD_WIRE_H
#define CAIRN_RECORD_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_LIKELY(x) __builtin_expect(!!(x), 1)
#define WIRE_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The general case of a zigzag varint of at most @bits bits, decoded to @raw (still zigzag). Returns the byte behind
 * it, or NULL: it is cut off, or longer than fits. */
const uint8_t *wire_varint_slow(const uint8_t *p, const uint8_t *end, unsigned bits, uint64_t *raw);

static inline int64_t wire_unzigzag(uint64_t raw)
{
    return (int64_t)((raw >> 1) ^ (0 - (raw & 1)));
}

static inline uint64_t wire_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline const uint8_t *wire_varint(const uint8_t *p, const uint8_t *end, unsigned bits, int64_t *value)
{
    uint64_t raw;
    if (WIRE_LIKELY(end - p >= 2)) {
        if (p[0] < 0x80) {
            *value = wire_unzigzag(p[0]);
            return p + 1;
        }
        if (WIRE_LIKELY(p[1] < 0x80)) {
            *value = wire_unzigzag((uint64_t)(p[0] & 0x7f) | (uint64_t)p[1] << 7);
            return p + 2;
        }
    }
    p = wire_varint_slow(p, end, bits, &raw);
    if (p != NULL) {
        *value = wire_unzigzag(raw);
    }
    return p;
}

static inline const uint8_t *wire_varint32(const uint8_t *p, const uint8_t *end, int32_t *value)
{
    int64_t v = 0;
    p = wire_varint(p, end, 32, &v);
    *value = (int32_t)v;
    return p;
}

static inline const uint8_t *wire_varint64(const uint8_t *p, const uint8_t *end, int64_t *value)
{
    return wire_varint(p, end, 64, value);
}

/* A length of @min or more and that many bytes; length -1 is null: *bytes becomes NULL. */
static inline const uint8_t *wire_bytes(const uint8_t *p, const uint8_t *end, int32_t min, const uint8_t **bytes,
                                        int32_t *length)
{
    p = wire_varint32(p, end, length);
    if (WIRE_UNLIKELY(p == NULL || *length < min)) {
        return NULL;
    }
    if (*length < 0) {
        *bytes = NULL;
        return p;
    }
    if (WIRE_UNLIKELY(*length > end - p)) {
        return NULL;
    }
    *bytes = p;
    return p + *length;
}

struct wire_record {
    int64_t timestamp_delta;
    int32_t offset_delta;
    int32_t key_length;
    int32_t value_length;
    int32_t header_count;
    const uint8_t *key;
    const uint8_t *value;
    const uint8_t *headers;
    const uint8_t *end;
};

/* Step over @count headers. NULL: malformed. */
const uint8_t *wire_skip_headers(const uint8_t *p, const uint8_t *end, int32_t count);

/* The record at @p. Returns its end, or NULL: its fields do not add up to its length. */
static inline const uint8_t *wire_record(const uint8_t *p, const uint8_t *end, struct wire_record *r)
{
    int32_t length;

    p = wire_varint32(p, end, &length);
    if (WIRE_UNLIKELY(p == NULL || length < 1 || length > end - p)) {
        return NULL;
    }
    end = p + length;
    p++; /* the record's attributes: unused, ignored as Kafka does */
    p = wire_varint64(p, end, &r->timestamp_delta);
    if (WIRE_UNLIKELY(p == NULL)) {
        return NULL;
    }
    p = wire_varint32(p, end, &r->offset_delta);
    if (WIRE_UNLIKELY(p == NULL)) {
        return NULL;
    }
    p = wire_bytes(p, end, -1, &r->key, &r->key_length);
    if (WIRE_UNLIKELY(p == NULL)) {
        return NULL;
    }
    p = wire_bytes(p, end, -1, &r->value, &r->value_length);
    if (WIRE_UNLIKELY(p == NULL)) {
        return NULL;
    }
    p = wire_varint32(p, end, &r->header_count);
    if (WIRE_UNLIKELY(p == NULL || r->header_count < 0)) {
        return NULL;
    }
    r->headers = p;
    r->end = end;
    if (WIRE_UNLIKELY(r->header_count > 0)) {
        p = wire_skip_headers(p, end, r->header_count);
    }
    return WIRE_LIKELY(p == end) ? end : NULL;
}

/* Bytes of the zigzagged varint @raw: 1 to 10. */
static inline size_t wire_varint_size(uint64_t raw)
{
    return ((size_t)(63 - __builtin_clzll(raw | 1)) * 9 + 73) >> 6;
}

/* Write the zigzagged varint @raw; there is room. */
static inline uint8_t *wire_put_varint(uint8_t *p, uint64_t raw)
{
    while (raw >= 0x80) {
        *p++ = (uint8_t)(raw | 0x80);
        raw >>= 7;
    }
    *p++ = (uint8_t)raw;
    return p;
}

static inline void wire_put_be32(uint8_t *p, uint32_t value)
{
    value = __builtin_bswap32(value);
    __builtin_memcpy(p, &value, sizeof value);
}

static inline void wire_put_be64(uint8_t *p, uint64_t value)
{
    value = __builtin_bswap64(value);
    __builtin_memcpy(p, &value, sizeof value);
}

static inline void wire_put_be16(uint8_t *p, uint16_t value)
{
    value = __builtin_bswap16(value);
    __builtin_memcpy(p, &value, sizeof value);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Cairn runs on little-endian machines");

#endif
