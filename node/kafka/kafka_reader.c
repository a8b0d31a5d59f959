#include "node/kafka/kafka_reader.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/kafka/kafka_header.h"

void kafka_reader_init(struct kafka_reader *r, struct buf_pool *pool, uint32_t size_max)
{
    memset(r, 0, sizeof *r);
    r->pool = pool;
    r->size_max = size_max;
}

void kafka_reader_close(struct kafka_reader *r)
{
    buf_release(r->buf);
    r->buf = NULL;
    r->begin = 0;
    r->end = 0;
}

/* No frame points into the buffer any more. Others only ever drop references: one is one. */
static bool sole_owner(const struct buf *buf)
{
    return atomic_load_explicit(&buf->refs, memory_order_acquire) == 1;
}

/* Bytes from @begin on that must have room: the frame, or a size and a read worth its system call. */
static size_t wanted(const struct kafka_reader *r)
{
    return r->frame_bytes != 0 ? r->frame_bytes : r->end - r->begin + KAFKA_READ_ROOM_MIN;
}

bool kafka_reader_has_room(const struct kafka_reader *r)
{
    if (r->buf == NULL) {
        return false;
    }
    return wanted(r) <= r->buf->capacity - r->begin || (wanted(r) <= r->buf->capacity && sole_owner(r->buf));
}

static int make_room(struct kafka_reader *r, size_t size)
{
    size_t held = r->end - r->begin;
    struct buf *buf;

    if (r->buf != NULL && size <= r->buf->capacity && sole_owner(r->buf)) {
        memmove(r->buf->data, r->buf->data + r->begin, held);
    } else {
        buf = buf_new(r->pool, size > KAFKA_READ_BUFFER_SIZE ? size : KAFKA_READ_BUFFER_SIZE);
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

int kafka_reader_alloc(struct kafka_reader *r, uint8_t **base, size_t *length)
{
    size_t held = r->end - r->begin;
    int rv;

    if (r->err != 0) {
        return r->err;
    }
    assert(r->frame_bytes != 0 ? held < r->frame_bytes : held < KAFKA_FRAME_PREFIX_SIZE);
    if (r->buf == NULL || wanted(r) > r->buf->capacity - r->begin) {
        rv = make_room(r, wanted(r));
        if (rv != 0) {
            return rv;
        }
    }
    *base = r->buf->data + r->end;
    *length = r->buf->capacity - r->end;
    if (r->frame_bytes > KAFKA_READ_BUFFER_SIZE) {
        *length = r->frame_bytes - held; /* it has a buffer of its own: what follows would have to be moved out again */
    }
    return 0;
}

void kafka_reader_commit(struct kafka_reader *r, size_t n)
{
    assert(n == 0 || (r->buf != NULL && n <= r->buf->capacity - r->end));
    r->end += n;
}

/* Nothing is left in the buffer: forget it, or go on behind what others still use. */
static void drained(struct kafka_reader *r)
{
    if (r->buf != NULL && (sole_owner(r->buf) || r->buf->capacity - r->end < KAFKA_READ_ROOM_MIN)) {
        kafka_reader_close(r);
    }
}

bool kafka_reader_next(struct kafka_reader *r, struct kafka_frame *frame)
{
    size_t held = r->end - r->begin;
    uint32_t size;

    if (r->err != 0) {
        return false;
    }
    if (held == 0) {
        drained(r);
        return false;
    }
    if (r->frame_bytes == 0) {
        if (held < KAFKA_FRAME_PREFIX_SIZE) {
            return false;
        }
        r->err = kafka_frame_size(r->buf->data + r->begin, r->size_max, &size);
        if (r->err != 0) {
            memcpy(r->first, r->buf->data + r->begin, sizeof r->first);
            return false;
        }
        r->frame_bytes = KAFKA_FRAME_PREFIX_SIZE + (size_t)size;
    }
    if (held < r->frame_bytes) {
        return false;
    }
    frame->data = r->buf->data + r->begin + KAFKA_FRAME_PREFIX_SIZE;
    frame->size = (uint32_t)(r->frame_bytes - KAFKA_FRAME_PREFIX_SIZE);
    frame->buf = buf_acquire(r->buf);
    r->begin += r->frame_bytes;
    if (r->frame_bytes > KAFKA_READ_BUFFER_SIZE && r->begin == r->end) {
        kafka_reader_close(r); /* what room the large frame's buffer has left is not worth pinning it */
    }
    r->frame_bytes = 0;
    return true;
}

/* What other protocols begin with. */
static const char *guess(const uint8_t first[4])
{
    static const char *const http[] = {"GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PRI ", "CONN"};

    if (first[0] == 0x16 && first[1] == 3) {
        return "a TLS hello: this listener speaks plain text (security.protocol=PLAINTEXT)";
    }
    if (memcmp(first, "CRN1", 4) == 0) {
        return "a frame of Cairn's own protocol: that is another listener";
    }
    for (size_t i = 0; i < sizeof http / sizeof http[0]; i++) {
        if (memcmp(first, http[i], 4) == 0) {
            return "an HTTP request: this listener speaks Kafka's protocol";
        }
    }
    return NULL;
}

int kafka_reader_error(const struct kafka_reader *r, char reason[ERRMSG_SIZE])
{
    const char *other;

    if (r->err == 0) {
        return 0;
    }
    other = guess(r->first);
    if (other != NULL) {
        snprintf(reason, ERRMSG_SIZE, "%s", other);
    } else {
        snprintf(reason, ERRMSG_SIZE, "a request of %d bytes: allowed are %d to %u",
                 (int32_t)((uint32_t)r->first[0] << 24 | (uint32_t)r->first[1] << 16 | (uint32_t)r->first[2] << 8 |
                           r->first[3]),
                 KAFKA_FRAME_SIZE_MIN, r->size_max);
    }
    return r->err;
}

bool kafka_reader_partial(const struct kafka_reader *r)
{
    return r->end > r->begin;
}

void kafka_reader_trim(struct kafka_reader *r)
{
    if (!kafka_reader_partial(r)) {
        kafka_reader_close(r);
    }
}
