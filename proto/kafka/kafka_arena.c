#include "proto/kafka/kafka_arena.h"

#include <stdint.h>
#include <stdlib.h>

#define CHUNK_SIZE 8192u       /* bytes after the header, at least */
#define CHUNK_SIZE_MAX 262144u /* but for a single larger allocation */
#define ALIGNMENT 16u

struct kafka_arena_chunk {
    struct kafka_arena_chunk *next;
    size_t size;
    size_t used;
    _Alignas(ALIGNMENT) uint8_t data[];
};

void kafka_arena_init(struct kafka_arena *arena, size_t size_max)
{
    arena->chunks = NULL;
    arena->size_max = size_max;
    arena->size = 0;
}

/* A new chunk with room for @size bytes, the newest. It grows with what is in use already, so that a request of many
 * small arrays costs few calls of malloc. */
static struct kafka_arena_chunk *chunk_push(struct kafka_arena *arena, size_t size)
{
    size_t capacity = arena->size < CHUNK_SIZE ? CHUNK_SIZE : arena->size;
    struct kafka_arena_chunk *chunk;

    if (capacity > CHUNK_SIZE_MAX) {
        capacity = CHUNK_SIZE_MAX;
    }
    if (capacity < size) {
        capacity = size;
    }
    chunk = malloc(sizeof *chunk + capacity);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->next = arena->chunks;
    chunk->size = capacity;
    chunk->used = 0;
    arena->chunks = chunk;
    return chunk;
}

int kafka_arena_alloc(struct kafka_arena *arena, size_t count, size_t item_size, void **out)
{
    struct kafka_arena_chunk *chunk;
    size_t size;

    if (count == 0) {
        *out = NULL;
        return 0;
    }
    if (__builtin_mul_overflow(count, item_size, &size) || size > arena->size_max - arena->size) {
        return ERR_TOO_BIG;
    }
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (size > arena->size_max - arena->size) {
        return ERR_TOO_BIG;
    }
    chunk = arena->chunks;
    if (chunk == NULL || size > chunk->size - chunk->used) {
        chunk = chunk_push(arena, size);
        if (chunk == NULL) {
            return ERR_NOMEM;
        }
    }
    *out = chunk->data + chunk->used;
    chunk->used += size;
    arena->size += size;
    return 0;
}

void kafka_arena_reset(struct kafka_arena *arena)
{
    while (arena->chunks != NULL && arena->chunks->next != NULL) {
        struct kafka_arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    if (arena->chunks != NULL) {
        arena->chunks->used = 0;
        if (arena->chunks->size > CHUNK_SIZE) {
            kafka_arena_close(arena); /* one large request does not make its connection dear for ever */
        }
    }
    arena->size = 0;
}

void kafka_arena_close(struct kafka_arena *arena)
{
    while (arena->chunks != NULL) {
        struct kafka_arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    arena->size = 0;
}
