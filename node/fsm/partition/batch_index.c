#include "node/fsm/partition/batch_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/crc32c.h"

static_assert(sizeof(struct batch_place) == 24, "memory per batch is part of the plan");

void batch_index_init(struct batch_index *b)
{
    memset(b, 0, sizeof *b);
}

void batch_index_close(struct batch_index *b)
{
    for (size_t i = 0; i < b->n_chunks; i++) {
        free(b->chunks[i]);
    }
    free(b->chunks);
    batch_index_init(b);
}

static struct batch_place *place_at(const struct batch_index *b, size_t i)
{
    return &b->chunks[i / BATCH_INDEX_CHUNK][i % BATCH_INDEX_CHUNK];
}

static int add_chunk(struct batch_index *b)
{
    if (b->n_chunks == b->chunks_capacity) {
        size_t capacity = b->chunks_capacity == 0 ? 4 : b->chunks_capacity * 2;
        struct batch_place **chunks = realloc(b->chunks, capacity * sizeof *chunks);
        if (chunks == NULL) {
            return ERR_NOMEM;
        }
        b->chunks = chunks;
        b->chunks_capacity = capacity;
    }
    b->chunks[b->n_chunks] = malloc(BATCH_INDEX_CHUNK * sizeof **b->chunks);
    if (b->chunks[b->n_chunks] == NULL) {
        return ERR_NOMEM;
    }
    b->n_chunks++;
    return 0;
}

int batch_index_push(struct batch_index *b, int64_t base_offset, uint64_t index, int64_t time_ms)
{
    struct batch_place *place;
    if (b->count == b->n_chunks * BATCH_INDEX_CHUNK) {
        int rv = add_chunk(b);
        if (rv != 0) {
            return rv;
        }
    }
    place = place_at(b, b->count);
    place->base_offset = base_offset;
    place->index = index;
    place->time_max = time_ms;
    if (b->count > 0 && place_at(b, b->count - 1)->time_max > time_ms) {
        place->time_max = place_at(b, b->count - 1)->time_max;
    }
    b->count++;
    return 0;
}

void batch_index_pop(struct batch_index *b)
{
    assert(b->count > 0);
    b->count--;
}

int batch_index_find_offset(const struct batch_index *b, int64_t offset, uint64_t *index)
{
    size_t begin = 0;
    size_t end = b->count; /* answer lies in [begin, end) when the first base offset is <= offset */
    if (b->count == 0 || place_at(b, 0)->base_offset > offset) {
        return ERR_OFFSET_OUT_OF_RANGE;
    }
    while (end - begin > 1) {
        size_t middle = begin + (end - begin) / 2;
        if (place_at(b, middle)->base_offset <= offset) {
            begin = middle;
        } else {
            end = middle;
        }
    }
    *index = place_at(b, begin)->index;
    return 0;
}

int batch_index_find_time(const struct batch_index *b, int64_t time_ms, int64_t *base_offset, uint64_t *index)
{
    size_t begin = 0;
    size_t end = b->count;
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        if (place_at(b, middle)->time_max >= time_ms) {
            end = middle;
        } else {
            begin = middle + 1;
        }
    }
    if (begin == b->count) {
        return ERR_NOT_FOUND;
    }
    *base_offset = place_at(b, begin)->base_offset;
    *index = place_at(b, begin)->index;
    return 0;
}

int batch_index_newest_time(const struct batch_index *b, int64_t *time_ms)
{
    if (b->count == 0) {
        return ERR_NOT_FOUND;
    }
    *time_ms = place_at(b, b->count - 1)->time_max;
    return 0;
}

uint32_t batch_index_digest(const struct batch_index *b, uint32_t crc)
{
    for (size_t i = 0; i < b->count; i++) {
        crc = crc32c(crc, place_at(b, i), sizeof(struct batch_place));
    }
    return crc;
}
