/* The native protocol's frame: a fixed header, a protobuf message, and a raw payload, so that record bytes never pass
 * through protobuf. Pure bytes in, bytes out (no I/O): the node's and the client's connections both stand on it. */
#ifndef CAIRN_NATIVE_FRAME_H
#define CAIRN_NATIVE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

#define FRAME_MAGIC 0x314E5243u /* "CRN1" */
#define FRAME_VERSION 1
#define FRAME_HEADER_SIZE 32
#define FRAME_MESSAGE_MAX (1u << 20)           /* bytes */
#define FRAME_PAYLOAD_MAX (64u << 20)          /* bytes */
#define FRAME_READ_BUFFER_SIZE (128u << 10)    /* bytes of a reader's ordinary buffer */
#define FRAME_READ_BUFFER_SIZE_MIN (16u << 10) /* smallest ordinary buffer */
#define FRAME_READ_ROOM_MIN (4u << 10) /* a buffer with less room than this behind its last frame is not read into */

enum frame_kind { FRAME_REQUEST = 1, FRAME_RESPONSE = 2 };

/* Header on the wire, little-endian. Magic, version and checksum keep their places in every version:
 *   0 u32 magic | 4 u8 frame version | 5 u8 kind | 6 u16 call | 8 u16 call version | 10 u16 status (0 in a request)
 *   12 u32 correlation | 16 u32 message length | 20 u32 payload length | 24 u32 reserved (0) | 28 u32 crc32c of 0..27
 */
struct frame_header {
    uint8_t kind;            /* enum frame_kind */
    uint16_t call;           /* enum call (calls.h) */
    uint16_t call_version;   /* of message and payload */
    uint16_t status;         /* response: a code of err.h, 0 = ok; request: 0 */
    uint32_t correlation;    /* the requester's; a response repeats it */
    uint32_t message_length; /* bytes of protobuf behind the header */
    uint32_t payload_length; /* raw bytes behind the message */
};

/* What one side is willing to buffer; never above FRAME_MESSAGE_MAX and FRAME_PAYLOAD_MAX. */
struct frame_limits {
    uint32_t message_max; /* bytes */
    uint32_t payload_max; /* bytes */
};

void frame_encode_header(const struct frame_header *h, uint8_t out[FRAME_HEADER_SIZE]);

/* Errors: ERR_MALFORMED (magic, checksum, kind, or reserved fields: garbage), ERR_VERSION (a frame version we do not
 * speak), ERR_TOO_BIG (a length above @limits). */
int frame_decode_header(const uint8_t in[FRAME_HEADER_SIZE], const struct frame_limits *limits,
                        struct frame_header *out) MUST_USE;

/* Bytes of the whole frame. */
static inline size_t frame_size(const struct frame_header *h)
{
    return (size_t)FRAME_HEADER_SIZE + h->message_length + h->payload_length;
}

/* A frame in place: @message and @payload point into @buf (unaligned), of which the receiver owns one reference. */
struct frame {
    struct frame_header header;
    const uint8_t *message;
    const uint8_t *payload;
    struct buf *buf;
};

/* Turns a stream of bytes into frames without copying payloads: the socket is read straight into reference-counted
 * buffers and frames point inside. Only a partial frame at a buffer's end is moved, to a buffer that holds all of it,
 * so at most one ordinary buffer's worth of it is ever moved.
 *
 *     rv = frame_reader_alloc(&r, &base, &length);      then read up to @length bytes to @base, n arrived:
 *     frame_reader_commit(&r, n);
 *     while (frame_reader_next(&r, &frame)) { ...; buf_release(frame.buf); }
 *     rv = frame_reader_error(&r);                      garbage: close this connection
 *
 * One thread at a time. Buffers at most one frame of the limits plus one ordinary buffer. */
struct frame_reader {
    struct buf_pool *pool; /* borrowed */
    struct frame_limits limits;
    size_t buffer_size; /* of an ordinary buffer */
    struct buf *buf;    /* being filled; NULL between bursts */
    size_t begin;       /* first byte of @buf not yet yielded */
    size_t end;         /* end of the bytes read */
    size_t frame_bytes; /* whole size of the frame at @begin once its header was decoded, else 0 */
    struct frame_header header;
    int err; /* sticky */
};

/* @pool may be NULL (plain memory). @buffer_size 0: FRAME_READ_BUFFER_SIZE. */
void frame_reader_init(struct frame_reader *r, struct buf_pool *pool, const struct frame_limits *limits,
                       size_t buffer_size);
/* Drops the buffer; frames already yielded keep their own references. */
void frame_reader_close(struct frame_reader *r);

/* Where to read next: at least one byte. Only after frame_reader_next() said false: reading on past frames that nobody
 * took would know no bounds. The place stays valid until the next call on @r; calling again without a
 * commit between is allowed. Errors: ERR_NOMEM (not sticky), or the sticky error. */
int frame_reader_alloc(struct frame_reader *r, uint8_t **base, size_t *length) MUST_USE;
/* Whether frame_reader_alloc() would do without new memory: it may be read on where memory is short. */
bool frame_reader_has_room(const struct frame_reader *r);
/* @n bytes have arrived where frame_reader_alloc said; 0 is allowed. */
void frame_reader_commit(struct frame_reader *r, size_t n);
/* The next complete frame, if there is one; false: more bytes are needed, or frame_reader_error() is set. @frame is
 * untouched on false. */
bool frame_reader_next(struct frame_reader *r, struct frame *frame) MUST_USE;
/* 0, or why the stream is unusable: ERR_MALFORMED, ERR_VERSION, ERR_TOO_BIG. */
int frame_reader_error(const struct frame_reader *r);
/* True when the stream stands inside a frame: an end of file here is a cut, not an end. */
bool frame_reader_partial(const struct frame_reader *r);
/* Give the buffer back where no partial frame needs it; for connections that have gone idle. */
void frame_reader_trim(struct frame_reader *r);

#endif
