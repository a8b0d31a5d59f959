#include "raft/transport/peer_frame.h"

void peer_frame_prefix(uint8_t out[PEER_FRAME_PREFIX_SIZE], uint64_t group, uint32_t size, uint32_t n)
{
    struct writer w;

    writer_init(&w, out, PEER_FRAME_PREFIX_SIZE);
    writer_u64(&w, group);
    writer_u32(&w, size);
    writer_u32(&w, n);
}

static int next_entry(struct cursor *c, struct buf *buf, struct entry **out)
{
    const uint8_t *header = cursor_bytes(c, ENTRY_HEADER_SIZE);
    const uint8_t *payload;
    struct entry probe;
    int rv;

    if (header == NULL) {
        return ERR_MALFORMED;
    }
    /* The length must be known to be true before the payload is taken. */
    rv = entry_decode_header(header, &probe);
    if (rv != 0) {
        return rv;
    }
    payload = cursor_bytes(c, probe.length);
    if (payload == NULL) {
        return ERR_MALFORMED;
    }
    return entry_decode(header, buf, payload, out);
}

int peer_frame_next(struct cursor *c, struct buf *buf, struct peer_message *out, struct entry **entries)
{
    uint32_t i;
    int rv;

    out->group = cursor_u64(c);
    out->size = cursor_u32(c);
    out->n = cursor_u32(c);
    if (cursor_failed(c)) {
        return ERR_MALFORMED;
    }
    if (out->size > PEER_FRAME_HEADER_MAX || out->n > PEER_FRAME_ENTRIES_MAX) {
        return ERR_TOO_BIG;
    }
    out->header = cursor_bytes(c, out->size);
    if (out->header == NULL || (size_t)out->n * ENTRY_HEADER_SIZE > cursor_left(c)) {
        return ERR_MALFORMED;
    }
    for (i = 0; i < out->n; i++) {
        rv = next_entry(c, buf, &entries[i]);
        if (rv != 0) {
            goto err;
        }
    }
    return 0;

err:
    while (i > 0) {
        entry_release(entries[--i]);
    }
    return rv;
}
