#include "proto/record/record_wire.h"

const uint8_t *wire_varint_slow(const uint8_t *p, const uint8_t *end, unsigned bits, uint64_t *raw)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < bits && p < end; shift += 7) {
        uint8_t byte = *p++;
        unsigned room = bits - shift;
        if (room < 7 && (byte & 0x7f) >> room != 0) {
            return NULL;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *raw = value;
            return p;
        }
    }
    return NULL;
}

const uint8_t *wire_skip_headers(const uint8_t *p, const uint8_t *end, int32_t count)
{
    const uint8_t *bytes;
    int32_t length;

    /* An absurd count ends with the bytes. */
    for (int32_t i = 0; i < count; i++) {
        p = wire_bytes(p, end, 0, &bytes, &length);
        if (p == NULL) {
            return NULL;
        }
        p = wire_bytes(p, end, -1, &bytes, &length);
        if (p == NULL) {
            return NULL;
        }
    }
    return p;
}
