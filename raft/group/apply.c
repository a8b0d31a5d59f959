/* Committed entries to the state machine, in order, each once: from memory, else read ahead, bounded in every turn. */
#include "proto/base/mutant.h"
#include "raft/group/internal.h"

#include <stdlib.h>

void apply_drop(struct group *g)
{
    for (uint32_t i = g->ahead_at; i < g->ahead_n; i++) {
        entry_release(g->ahead[i]);
    }
    free(g->ahead);
    g->ahead = NULL;
    g->ahead_n = 0;
    g->ahead_at = 0;
}

static void on_read(struct group_io *io, int status)
{
    struct group *g = io->group;

    g->apply_reading = false;
    if (g->state != GROUP_OPEN) {
        return;
    }
    if (status == ERR_NOMEM || status == ERR_BUSY) {
        wheel_file(g, g->host->now_ms + GROUP_TICK_MS); /* group_timer() marks it dirty: tried again */
        return;
    }
    if (status == ERR_CORRUPT) {
        group_damaged(g, "a committed entry read back is corrupt");
        return;
    }
    if (status != 0) {
        group_fail(g, status == ERR_NOT_FOUND ? ERR_CORRUPT : status, "a committed entry cannot be read back");
        return;
    }
    apply_drop(g);
    g->ahead = io->read.entries;
    g->ahead_n = io->read.n;
    io->read.entries = NULL;
    io->read.n = 0;
    group_dirty(g);
}

static void read_ahead(struct group *g, uint64_t first, uint64_t commit)
{
    uint64_t n = commit - first + 1;

    if (g->apply_reading) {
        return;
    }
    if (io_start(g, first, n > WAL_READ_ENTRIES_MAX ? WAL_READ_ENTRIES_MAX : (uint32_t)n, on_read, NULL) == NULL) {
        wheel_file(g, g->host->now_ms + GROUP_TICK_MS);
        return;
    }
    g->apply_reading = true;
}

/* The next entry, with a reference of its own; NULL: it is being read. */
static struct entry *next_entry(struct group *g, uint64_t index, uint64_t commit)
{
    struct entry *entry;

    if (g->ahead_at < g->ahead_n) {
        entry = g->ahead[g->ahead_at++];
        if (g->ahead_at == g->ahead_n) {
            apply_drop(g);
        }
        return entry;
    }
    entry = wal_cached(g->wal, index);
    if (entry == NULL) {
        read_ahead(g, index, commit);
        return NULL;
    }
    return entry_acquire(entry);
}

bool group_apply(struct group *g, uint32_t *budget)
{
    uint64_t commit = core_commit(g->core);
    size_t bytes = 0;
    uint32_t n = 0;

    while (g->applied < commit && g->fail_err == 0) {
        bool read_before = g->ahead_n > 0;
        struct entry *entry;
        if (*budget == 0 || n == GROUP_APPLY_ENTRIES || bytes > GROUP_APPLY_BYTES) {
            return false;
        }
        entry = next_entry(g, g->applied + 1, commit);
        if (entry == NULL) {
            break;
        }
        if (entry->group != g->id || entry->index != g->applied + 1) {
            entry_release(entry);
            group_fail(g, ERR_CORRUPT, "another entry stands where a committed one should be");
            break;
        }
        if (!(read_before && g->ahead_n == 0 && entry->kind != ENTRY_BARRIER && MUTANT(APPLY_SKIPS_AFTER_READ))) {
            g->fsm->apply(g->data, entry);
        }
        if (g->fail_err == 0) {
            g->applied++;
            g->host->stats.entries_applied++;
            proposals_applied(g, entry);
        }
        bytes += entry->length;
        n++;
        (*budget)--;
        entry_release(entry);
    }
    return true;
}
