/* Which entries live, where, and which of them are in memory: the accounts of files and of the cache. */
#include <assert.h>
#include <stdlib.h>

#include "raft/wal/wal_internal.h"

/* ---- what dies --------------------------------------------------------------------------------------------------- */

void wal_item_dead(struct wal *wal, const struct wal_item *item)
{
    struct wal_file *file;
    uint64_t size = wal_entry_size(item->length);

    if (item->file >= WAL_AT_QUEUE) {
        return;
    }
    file = wal->slots[item->file];
    assert(file->live_bytes >= size && file->live_entries > 0);
    file->live_bytes -= size;
    file->live_entries--;
    wal->stats.bytes_live -= size;
    if (file->live_entries == 0) {
        wal->reclaim_due = true;
    }
}

void wal_item_alive(struct wal *wal, const struct wal_item *item)
{
    struct wal_file *file = wal->slots[item->file];
    uint64_t size = wal_entry_size(item->length);

    file->live_bytes += size;
    file->live_entries++;
    wal->stats.bytes_live += size;
}

static uint64_t cache_cost(const struct entry *entry)
{
    return entry->length + WAL_CACHE_ENTRY_OVERHEAD;
}

static void recent_release(struct wal *wal, struct wal_group *g, uint64_t i)
{
    struct entry *entry = wal_recent_at(&g->recent, g->index.last, i);

    if (entry != NULL) {
        wal->stats.cache_bytes -= cache_cost(entry);
        entry_release(entry);
    }
}

/* Entries above @last are gone. */
void wal_group_drop_above(struct wal *wal, struct wal_group *g, uint64_t last)
{
    for (uint64_t i = g->index.last; i > last && i >= g->index.first; i--) {
        wal_item_dead(wal, wal_index_at(&g->index, i));
        recent_release(wal, g, i);
    }
    wal_index_truncate(&g->index, last);
}

/* Entries below @first are gone. */
void wal_group_drop_below(struct wal *wal, struct wal_group *g, uint64_t first)
{
    for (uint64_t i = g->index.first; i < first && i <= g->index.last; i++) {
        wal_item_dead(wal, wal_index_at(&g->index, i));
        recent_release(wal, g, i);
    }
    if (g->recent.first < first) {
        g->recent.first = first;
    }
    wal_index_trim(&g->index, first);
}

/* All entries are gone; the next one is @next. */
void wal_group_drop_all(struct wal *wal, struct wal_group *g, uint64_t next)
{
    wal_group_drop_above(wal, g, g->index.first - 1);
    (void)wal_index_reset(&g->index, next);
    g->recent.first = UINT64_MAX;
}

/* ---- the cache of recent entries --------------------------------------------------------------------------------- */

void wal_cache_push(struct wal *wal, struct wal_group *g, const struct entry *entry)
{
    if (wal->fifo_count == wal->fifo_capacity) {
        size_t capacity = wal->fifo_capacity == 0 ? 1024 : wal->fifo_capacity * 2;
        struct wal_fifo_item *fifo = malloc(capacity * sizeof(fifo[0]));
        if (fifo == NULL) {
            wal_fatal_nomem(wal);
        }
        for (size_t i = 0; i < wal->fifo_count; i++) {
            fifo[i] = wal->fifo[(wal->fifo_begin + i) & (wal->fifo_capacity - 1)];
        }
        free(wal->fifo);
        wal->fifo = fifo;
        wal->fifo_capacity = capacity;
        wal->fifo_begin = 0;
    }
    wal->fifo[(wal->fifo_begin + wal->fifo_count) & (wal->fifo_capacity - 1)] = (struct wal_fifo_item){g, entry->index};
    wal->fifo_count++;
    wal->stats.cache_bytes += cache_cost(entry);
    wal_group_ref(g);
}

/* Only in memory so far, or in a flush that is not durable yet. */
static bool item_pending(const struct wal *wal, const struct wal_item *item)
{
    return item->file >= WAL_AT_QUEUE || item->position >= wal->slots[item->file]->synced_end;
}

/* Oldest first, down to the limit; what was replaced or trimmed meanwhile has left already. */
static void evict(struct wal *wal, uint64_t max_bytes)
{
    while (wal->fifo_count > 0) {
        struct wal_fifo_item *oldest = &wal->fifo[wal->fifo_begin];
        struct wal_group *g = oldest->group;
        bool front = oldest->index == g->recent.first && oldest->index <= g->index.last;

        if (front && (wal->stats.cache_bytes <= max_bytes ||
                      item_pending(wal, wal_index_at(&g->index, oldest->index)))) {
            return;
        }
        if (!front && wal->stats.cache_bytes <= max_bytes && wal->fifo_count < wal->fifo_capacity) {
            return;
        }
        if (front) {
            recent_release(wal, g, oldest->index);
            g->recent.first++;
        }
        wal->fifo_begin = (wal->fifo_begin + 1) & (wal->fifo_capacity - 1);
        wal->fifo_count--;
        wal_group_unref(g);
    }
}

void wal_cache_evict(struct wal *wal)
{
    evict(wal, wal->params.cache_max_bytes);
}

void wal_cache_shrink(struct wal *wal, uint64_t max_bytes)
{
    evict(wal, max_bytes < wal->params.cache_max_bytes ? max_bytes : wal->params.cache_max_bytes);
}

void wal_cache_forget(struct wal *wal, struct wal_group *g)
{
    for (uint64_t i = g->recent.first; i <= g->index.last; i++) {
        recent_release(wal, g, i);
    }
    g->recent.first = UINT64_MAX;
}

struct entry *wal_cached(const struct wal_group *g, uint64_t index)
{
    return wal_recent_at(&g->recent, g->index.last, index);
}
