#include "proto/base/varint.h"

/* At most @bits significant bits in at most @bytes_max bytes; anything more fails the cursor. Padding within that
 * length (0x80 0x00) is accepted, as Kafka's own readers do. */
static uint64_t read_uvarint(struct cursor *c, unsigned bytes_max, unsigned bits)
{
    const uint8_t *p = c->data + c->position;
    size_t left = cursor_left(c);
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes_max && i < left; i++) {
        unsigned shift = 7 * i;
        uint64_t part = p[i] & 0x7fu;
        if (shift + 7 > bits && part >> (bits - shift) != 0) {
            break;
        }
        value |= part << shift;
        if ((p[i] & 0x80u) == 0) {
            c->position += i + 1;
            return value;
        }
    }
    c->failed = true;
    return 0;
}

static void write_uvarint(struct writer *w, uint64_t value)
{
    uint8_t bytes[VARINT64_SIZE_MAX];
    size_t n = 0;

    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    writer_bytes(w, bytes, n);
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

int32_t cursor_varint32(struct cursor *c)
{
    uint32_t v = (uint32_t)read_uvarint(c, VARINT32_SIZE_MAX, 32);

    return (int32_t)((v >> 1) ^ (0u - (v & 1)));
}

int64_t cursor_varint64(struct cursor *c)
{
    uint64_t v = read_uvarint(c, VARINT64_SIZE_MAX, 64);

    return (int64_t)((v >> 1) ^ (UINT64_C(0) - (v & 1)));
}

uint32_t cursor_uvarint32(struct cursor *c)
{
    return (uint32_t)read_uvarint(c, VARINT32_SIZE_MAX, 32);
}

/* Zigzag of a 32-bit value is the same number in both widths, so one encoder serves. */
void writer_varint32(struct writer *w, int32_t value)
{
    write_uvarint(w, zigzag(value));
}

void writer_varint64(struct writer *w, int64_t value)
{
    write_uvarint(w, zigzag(value));
}

void writer_uvarint32(struct writer *w, uint32_t value)
{
    write_uvarint(w, value);
}

unsigned varint_size(int64_t value)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(zigzag(value) | 1);

    return (bits + 6) / 7;
}
