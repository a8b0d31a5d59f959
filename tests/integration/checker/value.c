#include "tests/integration/checker/value.h"

#include <assert.h>

#include "proto/base/crc32c.h"
#include "proto/base/cursor.h"

/* u32 magic | u32 kind | u64 run | u32 producer | u32 partition | u64 sequence | u64 time | u32 0 | filler | u32 crc */
#define VALUE_MAGIC 0x56484343u /* "CCHV" */
#define CRC_SIZE 4

void value_encode(const struct value *v, uint8_t *out, size_t size)
{
    struct writer w;
    uint64_t x = v->run ^ (v->sequence * 0x9e3779b97f4a7c15u) ^ ((uint64_t)v->producer << 32) ^ v->partition;

    assert(size >= VALUE_SIZE_MIN);
    writer_init(&w, out, size);
    writer_u32(&w, VALUE_MAGIC);
    writer_u32(&w, v->kind);
    writer_u64(&w, v->run);
    writer_u32(&w, v->producer);
    writer_u32(&w, v->partition);
    writer_u64(&w, v->sequence);
    writer_u64(&w, v->time_us);
    while (size - w.position > CRC_SIZE) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        writer_u8(&w, (uint8_t)(x >> 56));
    }
    writer_u32(&w, crc32c(0, out, size - CRC_SIZE));
    assert(!writer_failed(&w) && w.position == size);
}

int value_decode(const uint8_t *bytes, size_t size, struct value *out)
{
    struct cursor c;
    struct cursor tail;
    uint32_t magic;

    if (size < VALUE_SIZE_MIN) {
        return ERR_MALFORMED;
    }
    cursor_init(&c, bytes, size);
    magic = cursor_u32(&c);
    if (magic != VALUE_MAGIC) {
        return ERR_MALFORMED;
    }
    cursor_init(&tail, bytes + size - CRC_SIZE, CRC_SIZE);
    if (cursor_u32(&tail) != crc32c(0, bytes, size - CRC_SIZE)) {
        return ERR_CORRUPT;
    }
    out->kind = cursor_u32(&c);
    out->run = cursor_u64(&c);
    out->producer = cursor_u32(&c);
    out->partition = cursor_u32(&c);
    out->sequence = cursor_u64(&c);
    out->time_us = cursor_u64(&c);
    return 0;
}
