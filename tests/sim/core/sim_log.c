#include <stdlib.h>

#include "tests/sim/core/sim.h"

void simlog_reset(struct simlog *log, uint64_t first)
{
    for (size_t i = 0; i < log->n; i++) {
        entry_release(log->entries[i]);
    }
    log->n = 0;
    log->first = first;
}

void simlog_close(struct simlog *log)
{
    simlog_reset(log, 1);
    free(log->entries);
    log->entries = NULL;
    log->size = 0;
}

void simlog_truncate(struct simlog *log, uint64_t first)
{
    while (log->n > 0 && simlog_last(log) >= first) {
        entry_release(log->entries[--log->n]);
    }
}

void simlog_append(struct simlog *log, struct entry *entry)
{
    simlog_truncate(log, entry->index);
    if (log->n == 0 && entry->index < log->first) {
        log->first = entry->index;
    }
    if (entry->index != log->first + log->n) {
        abort(); /* a gap: our own mistake */
    }
    if (log->n == log->size) {
        log->size = log->size == 0 ? 64 : log->size * 2;
        log->entries = realloc(log->entries, log->size * sizeof *log->entries);
        if (log->entries == NULL) {
            abort();
        }
    }
    log->entries[log->n++] = entry_acquire(entry);
}

void simlog_drop_prefix(struct simlog *log, uint64_t first_kept)
{
    size_t drop = 0;
    while (drop < log->n && log->first + drop < first_kept) {
        entry_release(log->entries[drop]);
        drop++;
    }
    if (drop > 0) {
        log->n -= drop;
        memmove(log->entries, log->entries + drop, log->n * sizeof *log->entries);
    }
    log->first += drop;
    if (log->n == 0 && log->first < first_kept) {
        log->first = first_kept;
    }
}

struct entry *simlog_at(const struct simlog *log, uint64_t index)
{
    if (index < log->first || index >= log->first + log->n) {
        return NULL;
    }
    return log->entries[index - log->first];
}
