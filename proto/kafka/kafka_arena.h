/* Where the arrays of decoded messages live: bump allocation with a limit, given back all at once. It exists so that
 * decoding costs no allocation a field, and so that no request can make us hold more than the limit. */
#ifndef CAIRN_KAFKA_ARENA_H
#define CAIRN_KAFKA_ARENA_H

#include <stddef.h>

#include "proto/base/err.h"

/* What one request of a client may take, decoded: arrays only, strings and records stay where they were received. */
#define KAFKA_ARENA_SIZE_MAX (8u << 20) /* bytes */

struct kafka_arena_chunk;

/* One thread. Memory is the arena's until reset or close. */
struct kafka_arena {
    struct kafka_arena_chunk *chunks; /* newest first; an ordinary oldest one survives a reset */
    size_t size_max;                  /* bytes that may be handed out between two resets */
    size_t size;                      /* bytes handed out since the last reset */
};

/* Allocates nothing yet. */
void kafka_arena_init(struct kafka_arena *arena, size_t size_max);

/* @count items of @item_size bytes, aligned for anything, not zeroed. With @count 0 *@out becomes NULL.
 * Errors: ERR_TOO_BIG beyond the limit, ERR_NOMEM. */
int kafka_arena_alloc(struct kafka_arena *arena, size_t count, size_t item_size, void **out) MUST_USE;

/* Give everything back; keeps one small chunk, so that small requests never reach malloc. */
void kafka_arena_reset(struct kafka_arena *arena);
void kafka_arena_close(struct kafka_arena *arena);

#endif
