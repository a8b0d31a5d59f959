/* Where each entry of a group stands, and the recent ones themselves. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_internal.h"

static uint64_t chunk_of(uint64_t i)
{
    return i / WAL_CHUNK_ITEMS;
}

static void chunks_free(struct wal_index *index, size_t from, size_t to)
{
    for (size_t c = from; c < to; c++) {
        free(index->chunks[index->begin + c]);
    }
}

/* Start anew, empty, at @first. */
int wal_index_reset(struct wal_index *index, uint64_t first)
{
    chunks_free(index, 0, index->count);
    index->begin = 0;
    index->count = 0;
    index->first = first;
    index->last = first - 1;
    return 0;
}

void wal_index_close(struct wal_index *index)
{
    chunks_free(index, 0, index->count);
    free(index->chunks);
    memset(index, 0, sizeof(*index));
}

struct wal_item *wal_index_at(const struct wal_index *index, uint64_t i)
{
    if (i < index->first || i > index->last) {
        return NULL;
    }
    return &index->chunks[index->begin + (chunk_of(i) - chunk_of(index->first))][i % WAL_CHUNK_ITEMS];
}

/* Room for one more chunk pointer behind the last. */
static int chunks_reserve(struct wal_index *index)
{
    size_t capacity = index->capacity == 0 ? 4 : index->capacity * 2;
    struct wal_item **chunks;

    if (index->begin + index->count < index->capacity) {
        return 0;
    }
    if (index->begin > 0 && index->begin >= index->capacity / 2) {
        memmove(index->chunks, index->chunks + index->begin, index->count * sizeof(index->chunks[0]));
        index->begin = 0;
        return 0;
    }
    chunks = realloc(index->chunks, capacity * sizeof(chunks[0]));
    if (chunks == NULL) {
        return ERR_NOMEM;
    }
    index->chunks = chunks;
    index->capacity = capacity;
    return 0;
}

int wal_index_push(struct wal_index *index, struct wal_item **out)
{
    uint64_t i = index->last + 1;
    size_t c = (size_t)(chunk_of(i) - chunk_of(index->first));
    int rv;

    assert(c <= index->count);
    if (c == index->count) {
        struct wal_item *chunk;
        rv = chunks_reserve(index);
        if (rv != 0) {
            return rv;
        }
        chunk = malloc(WAL_CHUNK_ITEMS * sizeof(*chunk));
        if (chunk == NULL) {
            return ERR_NOMEM;
        }
        index->chunks[index->begin + c] = chunk;
        index->count++;
    }
    index->last = i;
    *out = &index->chunks[index->begin + c][i % WAL_CHUNK_ITEMS];
    return 0;
}

void wal_index_truncate(struct wal_index *index, uint64_t last)
{
    size_t keep;

    if (last >= index->last) {
        return;
    }
    if (last < index->first) {
        last = index->first - 1;
        keep = 0;
    } else {
        keep = (size_t)(chunk_of(last) - chunk_of(index->first)) + 1;
    }
    chunks_free(index, keep, index->count);
    index->count = keep;
    index->last = last;
}

void wal_index_trim(struct wal_index *index, uint64_t first)
{
    size_t gone;

    if (first <= index->first) {
        return;
    }
    if (first > index->last) {
        (void)wal_index_reset(index, first);
        return;
    }
    gone = (size_t)(chunk_of(first) - chunk_of(index->first));
    chunks_free(index, 0, gone);
    index->begin += gone;
    index->count -= gone;
    index->first = first;
}

/* ---- recent entries ---------------------------------------------------------------------------------------------- */

struct entry *wal_recent_at(const struct wal_recent *recent, uint64_t last, uint64_t i)
{
    if (i < recent->first || i > last) {
        return NULL;
    }
    return recent->ring[i & (recent->capacity - 1)];
}

/* @entry becomes the one at @last; those of [recent->first, last) are there already. */
int wal_recent_push(struct wal_recent *recent, uint64_t last, struct entry *entry)
{
    if (recent->first >= last) {
        recent->first = last;
    }
    if (last - recent->first + 1 > recent->capacity) {
        size_t capacity = recent->capacity == 0 ? 8 : recent->capacity * 2;
        struct entry **ring = calloc(capacity, sizeof(ring[0]));
        if (ring == NULL) {
            return ERR_NOMEM;
        }
        for (uint64_t i = recent->first; i < last; i++) {
            ring[i & (capacity - 1)] = recent->ring[i & (recent->capacity - 1)];
        }
        free(recent->ring);
        recent->ring = ring;
        recent->capacity = capacity;
    }
    recent->ring[last & (recent->capacity - 1)] = entry_acquire(entry);
    return 0;
}
