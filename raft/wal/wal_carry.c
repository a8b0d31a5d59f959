/* Carrying forward: the live entries of a mostly dead file are read, in small steps, and queued as COPY records, so
 * that the file can go. One step at a time: a step is one read, then its share of one flush. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_internal.h"

void wal_copy_free(struct wal_copy *copy)
{
    for (uint32_t i = 0; i < copy->write.n_entries; i++) {
        entry_release(copy->write.entries[i]);
    }
    free(copy->write.entries);
    free(copy->moves);
    free(copy);
}

void wal_copy_settle(struct wal_copy *copy)
{
    struct wal_group *g = copy->write.group;

    for (uint32_t i = 0; i < copy->write.n_entries; i++) {
        const struct entry *entry = copy->write.entries[i];
        const struct wal_move *move = &copy->moves[i];
        struct wal_item *item = wal_index_at(&g->index, entry->index);
        struct wal_item gone = {.length = entry->length, .file = move->to_slot};
        if (move->to_slot == WAL_AT_NONE) {
            continue;
        }
        if (item != NULL && item->file == copy->slot && item->position == move->from) {
            gone.file = copy->slot;
            item->file = move->to_slot;
            item->position = move->to;
        }
        wal_item_dead(copy->wal, &gone);
    }
}

static void carry_end(struct wal *wal)
{
    wal->carry.active = false;
    wal->carry.file = NULL;
    wal->reclaim_due = true;
}

static void copy_written(struct wal_write *write)
{
    struct wal_copy *copy = container_of(write, struct wal_copy, write);
    struct wal *wal = copy->wal;

    wal->carry.waiting = false;
    wal_copy_settle(copy);
    wal_copy_free(copy);
    env_wake(wal->env);
}

/* The group may have changed meanwhile: encode_copy() checks each entry once more. */
static void carry_read(struct wal_read_job *job)
{
    struct wal *wal = job->job.wal;
    struct wal_file *file = wal->carry.file;
    struct wal_group *g = wal_group_find(wal, job->group);
    struct wal_copy *copy;

    wal->carry.waiting = false;
    if (job->status != 0) {
        log_event(wal->env->logger, LOG_WARN, "wal_carry_failed", "shard=%u file=%llu group=%llu index=%llu error=%s",
                  wal->params.shard, (unsigned long long)file->sequence, (unsigned long long)job->group,
                  (unsigned long long)job->first, err_name(job->status));
        file->carry_failed = true; /* it stays where it is */
        carry_end(wal);
        return;
    }
    copy = g == NULL || wal->closing ? NULL : calloc(1, sizeof(*copy));
    if (copy == NULL) {
        carry_end(wal);
        return;
    }
    copy->moves = calloc(job->n, sizeof(copy->moves[0]));
    if (copy->moves == NULL) {
        free(copy);
        carry_end(wal);
        return;
    }
    for (uint32_t i = 0; i < job->n; i++) {
        copy->moves[i].from = job->items[i].position;
    }
    copy->wal = wal;
    copy->slot = file->slot;
    copy->write.group = g;
    copy->write.entries = job->entries;
    copy->write.n_entries = job->n;
    copy->write.done = copy_written;
    job->entries = NULL;
    wal->carry.waiting = true;
    wal_enqueue(wal, &copy->write, WAL_OP_COPY);
}

/* Which share of a file may still be alive for it to be worth the work. */
static unsigned percent_worth(const struct wal *wal)
{
    uint64_t limit = wal->params.size_max_bytes;
    uint64_t used = wal->stats.bytes_total - wal->n_ready * wal->params.file_size_bytes;

    if (limit == 0 || limit <= wal->params.reserve_bytes) {
        return WAL_CARRY_LIVE_PERCENT;
    }
    limit -= wal->params.reserve_bytes;
    if (used > limit / 4 * 3) {
        return WAL_CARRY_LIVE_PERCENT_FULL;
    }
    return used > limit / 2 ? WAL_CARRY_LIVE_PERCENT_HALF : WAL_CARRY_LIVE_PERCENT;
}

static struct wal_file *choose(const struct wal *wal)
{
    struct wal_file *best = NULL;
    unsigned percent = percent_worth(wal);

    for (uint32_t s = 0; s < wal->n_slots; s++) {
        struct wal_file *file = wal->slots[s];
        if (file == NULL || file->state != WAL_FILE_SEALED || file->live_entries == 0 || file->carry_failed ||
            file->live_bytes * 100 > file->size * percent) {
            continue;
        }
        if (best == NULL || file->live_bytes < best->live_bytes) {
            best = file;
        }
    }
    return best;
}

/* The next live entries of the file, in [first, first + n) of one group. False: none within this turn's share. */
static bool find_live(struct wal *wal, struct wal_group **out, uint64_t *first, uint32_t *n)
{
    struct wal_file *file = wal->carry.file;
    uint32_t looked = 0;
    uint64_t bytes = 0;

    for (; wal->carry.range < file->n_ranges; wal->carry.range++, wal->carry.index = 0) {
        const struct wal_range *range = &file->ranges[wal->carry.range];
        struct wal_group *g = wal_group_find(wal, range->group);
        uint64_t i;
        uint64_t end;
        if (g == NULL) {
            continue;
        }
        i = wal->carry.index > range->index_min ? wal->carry.index : range->index_min;
        i = i > g->index.first ? i : g->index.first;
        end = range->index_max < g->index.last ? range->index_max + 1 : g->index.last + 1;
        for (*n = 0; i < end; i++) {
            const struct wal_item *item = wal_index_at(&g->index, i);
            bool ours = item->file == file->slot;
            if (*n > 0 && (!ours || *n == WAL_CARRY_ENTRIES || bytes + item->length > WAL_CARRY_BYTES)) {
                break;
            }
            if (ours) {
                *first = *n == 0 ? i : *first;
                bytes += item->length;
                (*n)++;
            } else if (++looked > WAL_CARRY_SCAN_MAX) {
                wal->carry.index = i;
                return false;
            }
        }
        if (*n > 0) {
            wal->carry.index = i;
            *out = g;
            return true;
        }
    }
    return false;
}

void wal_carry_step(struct wal *wal)
{
    struct wal_read_job *job;
    struct wal_group *g;
    uint64_t first;
    uint32_t n;

    if (wal->carry.waiting || wal->closing) {
        return;
    }
    if (!wal->carry.active) {
        if (!wal->carry_due) {
            return;
        }
        wal->carry_due = false;
        wal->carry.file = choose(wal);
        if (wal->carry.file == NULL) {
            return;
        }
        wal->carry.active = true;
        wal->carry_due = true;
        wal->carry.range = 0;
        wal->carry.index = 0;
    }
    if (!find_live(wal, &g, &first, &n)) {
        if (wal->carry.range >= wal->carry.file->n_ranges) {
            wal->carry.file->carry_failed = wal->carry.file->live_entries > 0; /* cannot be: but not for ever */
            carry_end(wal);
        }
        env_wake(wal->env);
        return;
    }
    if (wal_read_job_new(wal, g, first, n, &job) != 0) {
        carry_end(wal);
        return;
    }
    job->done = carry_read;
    wal->carry.waiting = true;
    wal_read_job_start(job);
}
