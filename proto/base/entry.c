#include "proto/base/entry.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/base/crc32c.h"
#include "proto/base/cursor.h"

#define HEADER_CRC_OFFSET 60

static_assert(HEADER_CRC_OFFSET + sizeof(uint32_t) == ENTRY_HEADER_SIZE, "the header ends with its checksum");

/* Lengths and pointers agree, and the payload lies inside its buffer. */
static bool payload_in_buf(const struct buf *buf, const uint8_t *data, uint32_t length)
{
    if (length == 0) {
        return true;
    }
    return buf != NULL && data >= buf->data && length <= buf->capacity &&
           (size_t)(data - buf->data) <= buf->capacity - length;
}

struct entry *entry_new(uint8_t kind, struct buf *buf, const uint8_t *data, uint32_t length)
{
    struct entry *entry;

    assert(kind >= ENTRY_BARRIER && kind <= ENTRY_COMMAND);
    assert(length <= ENTRY_PAYLOAD_MAX);
    assert(payload_in_buf(buf, data, length));
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL) {
        return NULL;
    }
    atomic_init(&entry->refs, 1);
    entry->kind = kind;
    entry->length = length;
    entry->crc = crc32c(0, data, length);
    entry->base_offset = -1;
    entry->buf = buf != NULL ? buf_acquire(buf) : NULL;
    entry->data = data;
    return entry;
}

struct entry *entry_acquire(struct entry *entry)
{
    uint32_t before = atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);

    assert(before > 0 && before < UINT32_MAX);
    (void)before;
    return entry;
}

void entry_release(struct entry *entry)
{
    uint32_t before;

    if (entry == NULL) {
        return;
    }
    before = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1) {
        return;
    }
    buf_release(entry->buf);
    free(entry);
}

void entry_encode_header(const struct entry *entry, uint8_t out[ENTRY_HEADER_SIZE])
{
    struct writer w;

    assert(entry->length <= ENTRY_PAYLOAD_MAX);
    writer_init(&w, out, ENTRY_HEADER_SIZE);
    writer_u8(&w, ENTRY_VERSION);
    writer_u8(&w, entry->kind);
    writer_u16(&w, 0);
    writer_u32(&w, entry->length);
    writer_u64(&w, entry->group);
    writer_u64(&w, entry->index);
    writer_u64(&w, entry->term);
    writer_i64(&w, entry->time_ms);
    writer_i64(&w, entry->base_offset);
    writer_u32(&w, entry->crc);
    writer_u64(&w, 0);
    writer_u32(&w, crc32c(0, out, HEADER_CRC_OFFSET));
    assert(!writer_failed(&w) && w.position == ENTRY_HEADER_SIZE);
}

int entry_decode_header(const uint8_t in[ENTRY_HEADER_SIZE], struct entry *out)
{
    struct cursor c;
    uint8_t kind;
    uint16_t flags;
    uint32_t length;
    struct cursor tail;

    cursor_init(&c, in, ENTRY_HEADER_SIZE);
    /* The version first: another version may keep its checksum elsewhere. */
    if (cursor_u8(&c) != ENTRY_VERSION) {
        return ERR_VERSION;
    }
    cursor_init(&tail, in + HEADER_CRC_OFFSET, sizeof(uint32_t));
    if (cursor_u32(&tail) != crc32c(0, in, HEADER_CRC_OFFSET)) {
        return ERR_MALFORMED;
    }
    cursor_init(&tail, in + HEADER_CRC_OFFSET - sizeof(uint64_t), sizeof(uint64_t));
    kind = cursor_u8(&c);
    flags = cursor_u16(&c);
    if (kind < ENTRY_BARRIER || kind > ENTRY_COMMAND || flags != 0 || cursor_u64(&tail) != 0) {
        return ERR_MALFORMED;
    }
    length = cursor_u32(&c);
    if (length > ENTRY_PAYLOAD_MAX) {
        return ERR_TOO_BIG;
    }
    out->kind = kind;
    out->length = length;
    out->group = cursor_u64(&c);
    out->index = cursor_u64(&c);
    out->term = cursor_u64(&c);
    out->time_ms = cursor_i64(&c);
    out->base_offset = cursor_i64(&c);
    out->crc = cursor_u32(&c);
    assert(!cursor_failed(&c));
    return 0;
}

int entry_decode(const uint8_t header[ENTRY_HEADER_SIZE], struct buf *buf, const uint8_t *data, struct entry **out)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    int rv;

    if (entry == NULL) {
        return ERR_NOMEM;
    }
    rv = entry_decode_header(header, entry);
    if (rv != 0) {
        goto err_after_alloc;
    }
    /* A length that reaches past what was received came from the wire: an error, not a bug of ours. */
    if (!payload_in_buf(buf, data, entry->length)) {
        rv = ERR_MALFORMED;
        goto err_after_alloc;
    }
    entry->data = entry->length > 0 ? data : NULL;
    if (!entry_intact(entry)) {
        rv = ERR_CORRUPT;
        goto err_after_alloc;
    }
    atomic_init(&entry->refs, 1);
    entry->buf = entry->length > 0 ? buf_acquire(buf) : NULL;
    *out = entry;
    return 0;

err_after_alloc:
    free(entry);
    return rv;
}

bool entry_intact(const struct entry *entry)
{
    return crc32c(0, entry->data, entry->length) == entry->crc;
}
