/* The files that count: their slots, what may stand in them, and when they no longer count. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/wal/wal_internal.h"

void wal_path(const struct wal *wal, const char *kind, uint64_t sequence, char path[ENV_PATH_MAX])
{
    int n = snprintf(path, ENV_PATH_MAX, "%s/%s-%016llx.log", wal->dir, kind, (unsigned long long)sequence);
    assert(n > 0 && n < ENV_PATH_MAX);
    (void)n;
}

struct wal_file *wal_file_new(uint64_t sequence, uint64_t size)
{
    struct wal_file *file = calloc(1, sizeof(*file));

    if (file != NULL) {
        file->slot = UINT32_MAX;
        file->sequence = sequence;
        file->size = size;
        file->end = WAL_BLOCK_SIZE;
    }
    return file;
}

void wal_file_set_salt(struct wal_file *file, uint64_t salt)
{
    file->salt = salt;
    file->seed = wal_record_seed(salt);
}

int wal_file_add(struct wal *wal, struct wal_file *file)
{
    uint32_t slot = 0;

    while (slot < wal->n_slots && wal->slots[slot] != NULL) {
        slot++;
    }
    if (slot == wal->n_slots) {
        uint32_t n = wal->n_slots == 0 ? 16 : wal->n_slots * 2;
        struct wal_file **slots = realloc(wal->slots, n * sizeof(slots[0]));
        if (slots == NULL || n > WAL_SLOTS_MAX) {
            return ERR_NOMEM;
        }
        memset(slots + wal->n_slots, 0, (n - wal->n_slots) * sizeof(slots[0]));
        wal->slots = slots;
        wal->n_slots = n;
    }
    wal->slots[slot] = file;
    file->slot = slot;
    return 0;
}

void wal_file_remove(struct wal *wal, struct wal_file *file)
{
    assert(wal->slots[file->slot] == file && file->live_entries == 0 && file->pins == 0);
    wal->slots[file->slot] = NULL;
    file->slot = UINT32_MAX;
}

void wal_file_free(struct wal *wal, struct wal_file *file)
{
    if (file->file != NULL) {
        env_file_close(wal->env, file->file);
    }
    free(file->ranges);
    free(file);
}

int wal_file_note(struct wal_file *file, struct wal_group *g, uint64_t index_min, uint64_t index_max)
{
    struct wal_range *range;

    if (g->range_file == file->sequence) {
        range = &file->ranges[g->range_slot];
        range->index_min = index_min < range->index_min ? index_min : range->index_min;
        range->index_max = index_max > range->index_max ? index_max : range->index_max;
        return 0;
    }
    if (file->n_ranges == file->ranges_capacity) {
        uint32_t capacity = file->ranges_capacity == 0 ? 16 : file->ranges_capacity * 2;
        struct wal_range *ranges = realloc(file->ranges, capacity * sizeof(ranges[0]));
        if (ranges == NULL) {
            return ERR_NOMEM;
        }
        file->ranges = ranges;
        file->ranges_capacity = capacity;
    }
    g->range_file = file->sequence;
    g->range_slot = file->n_ranges;
    file->ranges[file->n_ranges++] = (struct wal_range){g->group, index_min, index_max};
    return 0;
}

void wal_file_unpin(struct wal *wal, struct wal_file *file)
{
    assert(file->pins > 0);
    if (--file->pins == 0 && file->state == WAL_FILE_DROPPED) {
        wal->reclaim_due = true;
    }
}

static void drop_written(struct wal_write *write)
{
    free(write);
}

/* Nothing alive stands in @file, and nothing but entries can: the newest state of every group stands in the current
 * file's checkpoint. Whatever made its entries dead is in the queue or in the stream already, so this record, behind
 * it, makes it true on disk. */
static void drop_start(struct wal *wal, struct wal_file *file)
{
    struct wal_write *write;

    if (MUTANT(RECYCLE_BEFORE_DROP)) {
        file->state = WAL_FILE_DROPPED;
        wal->reclaim_due = true;
        return;
    }
    write = calloc(1, sizeof(*write));
    if (write == NULL) {
        return; /* again when something else dies, or at the next tick */
    }
    file->state = WAL_FILE_DROPPING;
    write->done = drop_written;
    wal_write_impl(write)->value = file->slot;
    wal_enqueue(wal, write, WAL_OP_DROP);
}

void wal_dropped(struct wal *wal, struct wal_file *file)
{
    assert(file->state == WAL_FILE_DROPPING && file->live_entries == 0);
    file->state = WAL_FILE_DROPPED;
    wal->reclaim_due = true;
}

void wal_reclaim(struct wal *wal)
{
    wal->reclaim_due = false;
    wal->carry_due = true;
    for (uint32_t s = 0; s < wal->n_slots; s++) {
        struct wal_file *file = wal->slots[s];
        if (file == NULL) {
            continue;
        }
        if (file->state == WAL_FILE_SEALED && file->live_entries == 0 && wal->carry.file != file && !wal->closing) {
            drop_start(wal, file);
        } else if (file->state == WAL_FILE_DROPPED && file->pins == 0) {
            wal_file_remove(wal, file);
            wal_retire(wal, file);
        }
    }
}
