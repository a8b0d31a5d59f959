#include "proto/base/buf.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define CLASS_MIN_BITS 8                                  /* the smallest class: 256 bytes */
#define CLASS_MAX_BITS 25                                 /* the largest: 32 MiB, a full entry with its frame */
#define CLASS_COUNT (CLASS_MAX_BITS - CLASS_MIN_BITS + 1) /* free lists */
#define CLASS_NONE UINT32_MAX
#define BUF_HEADER_SIZE ((sizeof(struct buf) + 15) & ~(size_t)15) /* keeps @data aligned as malloc does */

/* One of the few locks outside the shard's and env's rooms: receive buffers are filled on one thread and may be let go
 * on another (writer thread, reader workers), and the critical section is a handful of instructions a buffer. */
struct buf_pool {
    pthread_mutex_t lock;
    bool closed;           /* the owner has gone; the last buffer to come home frees the pool */
    size_t keep_max_bytes; /* of capacity in the free lists */
    size_t bytes_kept;
    size_t bytes_out;
    size_t bufs_out;
    struct buf *free_lists[CLASS_COUNT];
};

struct buf_pool *buf_pool_new(size_t keep_max_bytes)
{
    struct buf_pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL) {
        return NULL;
    }
    pool->keep_max_bytes = keep_max_bytes;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        return NULL;
    }
    return pool;
}

static void pool_destroy(struct buf_pool *pool)
{
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void buf_pool_free(struct buf_pool *pool)
{
    bool last;

    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    assert(!pool->closed);
    pool->closed = true;
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        struct buf *next;
        for (struct buf *buf = pool->free_lists[i]; buf != NULL; buf = next) {
            next = buf->next;
            free(buf);
        }
        pool->free_lists[i] = NULL;
    }
    pool->bytes_kept = 0;
    last = pool->bufs_out == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last) {
        pool_destroy(pool);
    }
}

size_t buf_pool_bytes_out(struct buf_pool *pool)
{
    size_t bytes;

    pthread_mutex_lock(&pool->lock);
    bytes = pool->bytes_out;
    pthread_mutex_unlock(&pool->lock);
    return bytes;
}

static uint32_t class_of(size_t size)
{
    unsigned bits;

    if (size <= (size_t)1 << CLASS_MIN_BITS) {
        return 0;
    }
    if (size > (size_t)1 << CLASS_MAX_BITS) {
        return CLASS_NONE;
    }
    bits = 64u - (unsigned)__builtin_clzll((unsigned long long)size - 1);
    return bits - CLASS_MIN_BITS;
}

static struct buf *buf_malloc(size_t capacity, uint32_t size_class)
{
    struct buf *buf;

    if (capacity > SIZE_MAX - BUF_HEADER_SIZE) {
        return NULL;
    }
    buf = malloc(BUF_HEADER_SIZE + capacity);
    if (buf == NULL) {
        return NULL;
    }
    atomic_init(&buf->refs, 1);
    buf->size_class = size_class;
    buf->capacity = capacity;
    buf->pool = NULL;
    buf->next = NULL;
    buf->data = (uint8_t *)buf + BUF_HEADER_SIZE;
    return buf;
}

static void pool_count_out(struct buf_pool *pool, struct buf *buf)
{
    buf->pool = pool;
    pool->bytes_out += buf->capacity;
    pool->bufs_out++;
}

struct buf *buf_new(struct buf_pool *pool, size_t size)
{
    uint32_t size_class;
    struct buf *buf = NULL;

    if (pool == NULL) {
        return buf_malloc(size, CLASS_NONE);
    }

    size_class = class_of(size);
    pthread_mutex_lock(&pool->lock);
    assert(!pool->closed);
    if (size_class != CLASS_NONE && pool->free_lists[size_class] != NULL) {
        buf = pool->free_lists[size_class];
        pool->free_lists[size_class] = buf->next;
        pool->bytes_kept -= buf->capacity;
        buf->next = NULL;
        atomic_store_explicit(&buf->refs, 1, memory_order_relaxed);
        pool_count_out(pool, buf);
    }
    pthread_mutex_unlock(&pool->lock);
    if (buf != NULL) {
        return buf;
    }

    /* Cold: malloc may map fresh pages, so not under the lock. */
    buf = buf_malloc(size_class == CLASS_NONE ? size : (size_t)1 << (size_class + CLASS_MIN_BITS), size_class);
    if (buf == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&pool->lock);
    pool_count_out(pool, buf);
    pthread_mutex_unlock(&pool->lock);
    return buf;
}

struct buf *buf_acquire(struct buf *buf)
{
    uint32_t before = atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);

    assert(before > 0 && before < UINT32_MAX);
    (void)before;
    return buf;
}

/* Returns true when @buf went into a free list, false when it is the caller's to free. */
static bool pool_take_back(struct buf_pool *pool, struct buf *buf)
{
    bool kept = false;
    bool last;

    pthread_mutex_lock(&pool->lock);
    assert(pool->bufs_out > 0 && pool->bytes_out >= buf->capacity);
    pool->bytes_out -= buf->capacity;
    pool->bufs_out--;
    if (!pool->closed && buf->size_class != CLASS_NONE && buf->capacity <= pool->keep_max_bytes - pool->bytes_kept) {
        buf->next = pool->free_lists[buf->size_class];
        pool->free_lists[buf->size_class] = buf;
        pool->bytes_kept += buf->capacity;
        kept = true;
    }
    last = pool->closed && pool->bufs_out == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last) {
        pool_destroy(pool);
    }
    return kept;
}

void buf_release(struct buf *buf)
{
    uint32_t before;

    if (buf == NULL) {
        return;
    }
    /* acq_rel: what other threads did with the bytes happens before their reuse */
    before = atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1) {
        return;
    }
    if (buf->pool != NULL && pool_take_back(buf->pool, buf)) {
        return;
    }
    free(buf);
}
