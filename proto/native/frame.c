#include "proto/native/frame.h"

#include <assert.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/base/cursor.h"

#define CRC_AT 28

void frame_encode_header(const struct frame_header *h, uint8_t out[FRAME_HEADER_SIZE])
{
    struct writer w;

    assert(h->kind == FRAME_REQUEST || h->kind == FRAME_RESPONSE);
    assert(h->kind == FRAME_RESPONSE || h->status == 0);
    assert(h->message_length <= FRAME_MESSAGE_MAX && h->payload_length <= FRAME_PAYLOAD_MAX);
    writer_init(&w, out, FRAME_HEADER_SIZE);
    writer_u32(&w, FRAME_MAGIC);
    writer_u8(&w, FRAME_VERSION);
    writer_u8(&w, h->kind);
    writer_u16(&w, h->call);
    writer_u16(&w, h->call_version);
    writer_u16(&w, h->status);
    writer_u32(&w, h->correlation);
    writer_u32(&w, h->message_length);
    writer_u32(&w, h->payload_length);
    writer_u32(&w, 0);
    writer_u32(&w, crc32c(0, out, CRC_AT));
    assert(!writer_failed(&w) && w.position == FRAME_HEADER_SIZE);
}

int frame_decode_header(const uint8_t in[FRAME_HEADER_SIZE], const struct frame_limits *limits,
                        struct frame_header *out)
{
    struct frame_header h;
    struct cursor c;
    uint8_t version;
    uint32_t reserved;
    uint32_t magic;

    cursor_init(&c, in, FRAME_HEADER_SIZE);
    magic = cursor_u32(&c);
    version = cursor_u8(&c);
    h.kind = cursor_u8(&c);
    h.call = cursor_u16(&c);
    h.call_version = cursor_u16(&c);
    h.status = cursor_u16(&c);
    h.correlation = cursor_u32(&c);
    h.message_length = cursor_u32(&c);
    h.payload_length = cursor_u32(&c);
    reserved = cursor_u32(&c);
    if (magic != FRAME_MAGIC || cursor_u32(&c) != crc32c(0, in, CRC_AT)) {
        return ERR_MALFORMED;
    }
    if (version != FRAME_VERSION) {
        return ERR_VERSION;
    }
    if (reserved != 0 || (h.kind != FRAME_REQUEST && h.kind != FRAME_RESPONSE) ||
        (h.kind == FRAME_REQUEST && h.status != 0)) {
        return ERR_MALFORMED;
    }
    if (h.message_length > limits->message_max || h.payload_length > limits->payload_max) {
        return ERR_TOO_BIG;
    }
    *out = h;
    return 0;
}
