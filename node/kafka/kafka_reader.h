/* Turns a stream of bytes into Kafka's frames without copying them: the socket is read straight into reference-counted
 * buffers and frames point inside, so that record batches stay where they arrived until they are on disk. */
#ifndef CAIRN_NODE_KAFKA_READER_H
#define CAIRN_NODE_KAFKA_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

#define KAFKA_READ_BUFFER_SIZE (128u << 10) /* bytes of an ordinary buffer */
#define KAFKA_READ_ROOM_MIN (4u << 10)      /* a buffer with less room than this is not read into */

/* A frame in place, behind its size; its receiver owns one reference on @buf. */
struct kafka_frame {
    const uint8_t *data;
    uint32_t size;
    struct buf *buf;
};

/* alloc, commit, next while true, error: as proto/native/frame.h has it. One thread at a time. Holds at most one frame
 * of the limit and one ordinary buffer. */
struct kafka_reader {
    struct buf_pool *pool; /* borrowed; may be NULL */
    uint32_t size_max;
    struct buf *buf;    /* being filled; NULL between bursts */
    size_t begin;       /* first byte not yet yielded */
    size_t end;         /* end of the bytes read */
    size_t frame_bytes; /* of the frame at @begin, with its size; 0: not known yet */
    int err;            /* sticky */
    uint8_t first[4];   /* what stood where a size should, with @err */
};

void kafka_reader_init(struct kafka_reader *r, struct buf_pool *pool, uint32_t size_max);
void kafka_reader_close(struct kafka_reader *r);
/* Where to read next; only after kafka_reader_next() said false. Errors: ERR_NOMEM, or the sticky one. */
int kafka_reader_alloc(struct kafka_reader *r, uint8_t **base, size_t *length) MUST_USE;
bool kafka_reader_has_room(const struct kafka_reader *r); /* alloc would do without new memory */
void kafka_reader_commit(struct kafka_reader *r, size_t n);
bool kafka_reader_next(struct kafka_reader *r, struct kafka_frame *frame) MUST_USE;
/* 0, or why the stream is unusable, in words for the log: the peer may speak something else (TLS, HTTP, our own). */
int kafka_reader_error(const struct kafka_reader *r, char reason[ERRMSG_SIZE]);
bool kafka_reader_partial(const struct kafka_reader *r);
void kafka_reader_trim(struct kafka_reader *r);

#endif
