#include <assert.h>
#include <string.h>

#include "proto/native/frame.h"

void frame_reader_init(struct frame_reader *r, struct buf_pool *pool, const struct frame_limits *limits,
                       size_t buffer_size)
{
    assert(limits->message_max <= FRAME_MESSAGE_MAX && limits->payload_max <= FRAME_PAYLOAD_MAX);
    if (buffer_size == 0) {
        buffer_size = FRAME_READ_BUFFER_SIZE;
    }
    assert(buffer_size >= FRAME_READ_BUFFER_SIZE_MIN);
    memset(r, 0, sizeof *r);
    r->pool = pool;
    r->limits = *limits;
    r->buffer_size = buffer_size;
}

void frame_reader_close(struct frame_reader *r)
{
    buf_release(r->buf);
    r->buf = NULL;
    r->begin = 0;
    r->end = 0;
}

/* No frame points into the buffer any more: it may be overwritten. Others can only drop references, never take one
 * from nothing, so one is one. */
static bool sole_owner(const struct buf *buf)
{
    return atomic_load_explicit(&buf->refs, memory_order_acquire) == 1;
}

/* Move the partial frame (or nothing) to where @size bytes from its start have room. */
static int make_room(struct frame_reader *r, size_t size)
{
    size_t held = r->end - r->begin;
    struct buf *buf;

    if (r->buf != NULL && size <= r->buf->capacity && sole_owner(r->buf)) {
        memmove(r->buf->data, r->buf->data + r->begin, held);
    } else {
        buf = buf_new(r->pool, size > r->buffer_size ? size : r->buffer_size);
        if (buf == NULL) {
            return ERR_NOMEM;
        }
        if (held > 0) {
            memcpy(buf->data, r->buf->data + r->begin, held);
        }
        buf_release(r->buf);
        r->buf = buf;
    }
    r->begin = 0;
    r->end = held;
    return 0;
}

/* Of an unknown frame, its header and a read worth its system call. */
static size_t wanted(const struct frame_reader *r)
{
    return r->frame_bytes != 0 ? r->frame_bytes : r->end - r->begin + FRAME_READ_ROOM_MIN;
}

bool frame_reader_has_room(const struct frame_reader *r)
{
    if (r->buf == NULL) {
        return false;
    }
    return wanted(r) <= r->buf->capacity - r->begin || (wanted(r) <= r->buf->capacity && sole_owner(r->buf));
}

int frame_reader_alloc(struct frame_reader *r, uint8_t **base, size_t *length)
{
    size_t held = r->end - r->begin;
    size_t want;
    int rv;

    if (r->err != 0) {
        return r->err;
    }
    assert(r->frame_bytes != 0 ? held < r->frame_bytes : held < FRAME_HEADER_SIZE);
    want = wanted(r);
    if (r->buf == NULL || want > r->buf->capacity - r->begin) {
        rv = make_room(r, want);
        if (rv != 0) {
            return rv;
        }
    }
    assert(r->end < r->buf->capacity);
    *base = r->buf->data + r->end;
    *length = r->buf->capacity - r->end;
    if (r->frame_bytes > r->buffer_size) {
        /* A large frame has a buffer of its own: what follows it would only have to be moved out again. */
        *length = r->frame_bytes - held;
    }
    return 0;
}

void frame_reader_commit(struct frame_reader *r, size_t n)
{
    assert(n == 0 || (r->buf != NULL && n <= r->buf->capacity - r->end));
    r->end += n;
}

/* Nothing is left in the buffer: forget it, or fill it from its start again, or go on behind what others still use
 * (a small message then pins a share of a buffer and not one of its own). */
static void reader_drained(struct frame_reader *r)
{
    if (r->buf == NULL) {
        return;
    }
    if (sole_owner(r->buf) || r->buf->capacity - r->end < FRAME_READ_ROOM_MIN) {
        frame_reader_close(r);
    }
}

bool frame_reader_next(struct frame_reader *r, struct frame *frame)
{
    size_t held = r->end - r->begin;
    int rv;

    if (r->err != 0) {
        return false;
    }
    if (held == 0) {
        reader_drained(r);
        return false;
    }
    if (r->frame_bytes == 0) {
        if (held < FRAME_HEADER_SIZE) {
            return false;
        }
        rv = frame_decode_header(r->buf->data + r->begin, &r->limits, &r->header);
        if (rv != 0) {
            r->err = rv;
            return false;
        }
        r->frame_bytes = frame_size(&r->header);
    }
    if (held < r->frame_bytes) {
        return false;
    }
    frame->header = r->header;
    frame->message = r->buf->data + r->begin + FRAME_HEADER_SIZE;
    frame->payload = frame->message + r->header.message_length;
    frame->buf = buf_acquire(r->buf);
    r->begin += r->frame_bytes;
    if (r->frame_bytes > r->buffer_size && r->begin == r->end) {
        frame_reader_close(r); /* what room the large frame's buffer has left is not worth pinning it */
    }
    r->frame_bytes = 0;
    return true;
}

int frame_reader_error(const struct frame_reader *r)
{
    return r->err;
}

bool frame_reader_partial(const struct frame_reader *r)
{
    return r->end > r->begin;
}

void frame_reader_trim(struct frame_reader *r)
{
    if (!frame_reader_partial(r)) {
        frame_reader_close(r);
    }
}
