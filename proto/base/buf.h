/* Reference-counted byte buffers: what a socket read fills, and what entries, the shard log and peers then point into
 * without copying. */
#ifndef CAIRN_BASE_BUF_H
#define CAIRN_BASE_BUF_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

struct buf {
    _Atomic uint32_t refs;
    uint32_t size_class; /* which free list of the pool it returns to; UINT32_MAX: none, never kept */
    size_t capacity;     /* bytes at @data */
    struct buf_pool *pool;
    struct buf *next; /* link in the pool's free list */
    uint8_t *data;    /* follows the struct in the same allocation */
};

/* Keeps freed buffers by power-of-two size class for reuse (first touch of a fresh page costs up to 10 us).
 * Thread-safe: a buffer may be released on any thread. Buffers still out at close are freed at their last release.
 * Requests above the largest class (32 MiB) are plain malloc. No allocation once warm. */
struct buf_pool;

struct buf_pool *buf_pool_new(size_t keep_max_bytes);
void buf_pool_free(struct buf_pool *pool);
size_t buf_pool_bytes_out(struct buf_pool *pool); /* capacity handed out and not yet back */

/* A buffer with one reference and capacity >= @size, contents undefined. @pool may be NULL. NULL: out of memory. */
struct buf *buf_new(struct buf_pool *pool, size_t size) MUST_USE;
struct buf *buf_acquire(struct buf *buf);
void buf_release(struct buf *buf); /* NULL is allowed */

#endif
