/* Entries from the files, by a worker: neighbours in one pread, into one buffer that the entries then point into. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_internal.h"

/* ---- the job ----------------------------------------------------------------------------------------------------- */

/* Items [begin, end) of a job that one pread takes along. */
struct run {
    uint32_t begin;
    uint32_t end;
    uint64_t from; /* in the file */
    uint64_t to;
};

static uint64_t item_end(const struct wal_item *item)
{
    return item->position + WAL_ENTRY_OVERHEAD + item->length;
}

static struct run next_run(const struct wal_read_job *job, uint32_t begin)
{
    struct run run = {begin, begin + 1, job->items[begin].position, item_end(&job->items[begin])};

    while (run.end < job->n) {
        const struct wal_item *item = &job->items[run.end];
        if (item->file != job->items[begin].file || item->position < run.to ||
            item->position - run.to > WAL_READ_GAP_MAX) {
            break;
        }
        run.to = item_end(item);
        run.end++;
    }
    return run;
}

/* One entry out of what was read. What does not check, or is not what the index said, is corruption. */
static int take_entry(struct wal_read_job *job, uint32_t i, struct buf *buf, const uint8_t *at)
{
    const struct wal_item *item = &job->items[i];
    struct wal_disk_record record;
    struct entry *entry;
    int rv;

    rv = wal_record_check(at, WAL_ENTRY_OVERHEAD + item->length, job->files[i]->seed, &record);
    if (rv != 0 || !wal_kind_has_entry(record.kind) || record.group != job->group ||
        record.length != ENTRY_HEADER_SIZE + item->length) {
        return ERR_CORRUPT;
    }
    rv = entry_decode(at + sizeof(record), buf, at + WAL_ENTRY_OVERHEAD, &entry);
    if (rv != 0) {
        return rv == ERR_NOMEM ? rv : ERR_CORRUPT;
    }
    if (entry->group != job->group || entry->index != job->first + i || entry->term != item->term ||
        entry->length != item->length) {
        entry_release(entry);
        return ERR_CORRUPT;
    }
    job->entries[i] = entry;
    return 0;
}

static int read_run(struct wal_read_job *job, const struct run *run, struct buf *buf, uint8_t *to)
{
    struct env *env = job->job.wal->env;
    size_t size = (size_t)(run->to - run->from);
    size_t n;
    int rv;

    rv = env_file_read(env, job->files[run->begin]->file, to, size, run->from, &n);
    if (rv != 0) {
        return rv;
    }
    if (n < size) {
        return ERR_CORRUPT;
    }
    for (uint32_t i = run->begin; i < run->end; i++) {
        rv = take_entry(job, i, buf, to + (job->items[i].position - run->from));
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static void read_run_all(struct env_work *work)
{
    struct wal_read_job *job = container_of(container_of(work, struct wal_job, work), struct wal_read_job, job);
    struct buf *buf;
    size_t size = 0;
    size_t at = 0;

    for (uint32_t i = 0; i < job->n;) {
        struct run run = next_run(job, i);
        size += (size_t)wal_round_up(run.to - run.from, WAL_RECORD_ALIGN);
        i = run.end;
    }
    buf = buf_new(job->job.wal->params.pool, size);
    if (buf == NULL) {
        job->status = ERR_NOMEM;
        return;
    }
    for (uint32_t i = 0; i < job->n && job->status == 0;) {
        struct run run = next_run(job, i);
        job->status = read_run(job, &run, buf, buf->data + at);
        at += (size_t)wal_round_up(run.to - run.from, WAL_RECORD_ALIGN);
        i = run.end;
    }
    buf_release(buf);
}

static void read_complete(struct wal_job *base)
{
    struct wal_read_job *job = container_of(base, struct wal_read_job, job);

    for (uint32_t i = 0; i < job->n; i++) {
        wal_file_unpin(base->wal, job->files[i]);
    }
    job->done(job);
}

static void read_destroy(struct wal_job *base)
{
    struct wal_read_job *job = container_of(base, struct wal_read_job, job);

    if (job->entries != NULL) {
        for (uint32_t i = 0; i < job->n; i++) {
            entry_release(job->entries[i]);
        }
    }
    free(job->entries);
    free(job->items);
    free(job->files);
    free(job);
}

int wal_read_job_new(struct wal *wal, const struct wal_group *g, uint64_t first, uint32_t n, struct wal_read_job **out)
{
    struct wal_read_job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        return ERR_NOMEM;
    }
    job->items = calloc(n, sizeof(job->items[0]));
    job->files = calloc(n, sizeof(struct wal_file *));
    job->entries = calloc(n, sizeof(struct entry *));
    if (job->items == NULL || job->files == NULL || job->entries == NULL) {
        read_destroy(&job->job);
        return ERR_NOMEM;
    }
    job->job.wal = wal;
    job->group = g->group;
    job->first = first;
    job->n = n;
    for (uint32_t i = 0; i < n; i++) {
        job->items[i] = *wal_index_at(&g->index, first + i);
        assert(job->items[i].file < WAL_AT_QUEUE);
        job->files[i] = wal->slots[job->items[i].file];
        job->files[i]->pins++;
    }
    *out = job;
    return 0;
}

void wal_read_job_start(struct wal_read_job *job)
{
    wal_job_start(job->job.wal, &job->job, read_run_all, read_complete, read_destroy);
}

/* ---- wal_read ---------------------------------------------------------------------------------------------------- */

/* Behind wal_read.impl, while an answer without entries waits for the end of the turn. */
struct read_impl {
    struct list link;
    struct wal_read *read;
    int status;
};
static_assert(sizeof(struct read_impl) <= sizeof(((struct wal_read *)0)->impl), "wal_read.impl is too small");

static bool answer_later(struct wal *wal, struct wal_read *read, int status)
{
    struct read_impl *impl = (struct read_impl *)(void *)read->impl;

    impl->read = read;
    impl->status = status;
    list_push_back(&wal->unfounded, &impl->link);
    env_wake(wal->env);
    return false;
}

void wal_read_answer_unfounded(struct wal *wal)
{
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice_back(&now, &wal->unfounded);
    while ((node = list_pop_front(&now)) != NULL) {
        struct read_impl *impl = list_entry(node, struct read_impl, link);
        impl->read->done(impl->read, impl->status);
    }
}

static void read_answered(struct wal_read_job *job)
{
    struct wal_read *read = job->data;

    if (job->status == 0) {
        read->entries = job->entries;
        read->n = job->n;
        job->entries = NULL;
    }
    read->done(read, job->status);
}

static bool read_cached(struct wal_group *g, struct wal_read *read)
{
    uint64_t bytes = 0;
    uint32_t n = 0;

    while (n < read->n_max && read->first + n <= g->index.last) {
        bytes += wal_index_at(&g->index, read->first + n)->length;
        if (n > 0 && bytes > read->bytes_max) {
            break;
        }
        n++;
    }
    read->entries = malloc(n * sizeof(struct entry *));
    if (read->entries == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        read->entries[i] = entry_acquire(wal_recent_at(&g->recent, g->index.last, read->first + i));
    }
    read->n = n;
    return true;
}

bool wal_read(struct wal *wal, struct wal_read *read)
{
    struct wal_group *g = wal_group_find(wal, read->group);
    struct wal_read_job *job;
    uint64_t bytes = 0;
    uint32_t n = 0;

    assert(read->n_max > 0 && read->n_max <= WAL_READ_ENTRIES_MAX);
    read->entries = NULL;
    read->n = 0;
    if (g == NULL || wal_index_at(&g->index, read->first) == NULL) {
        return answer_later(wal, read, ERR_NOT_FOUND);
    }
    if (wal_recent_at(&g->recent, g->index.last, read->first) != NULL) {
        return read_cached(g, read) ? true : answer_later(wal, read, ERR_NOMEM);
    }
    /* From the files up to where memory begins. */
    while (n < read->n_max && read->first + n <= g->index.last && read->first + n < g->recent.first) {
        bytes += wal_index_at(&g->index, read->first + n)->length;
        if (n > 0 && bytes > read->bytes_max) {
            break;
        }
        n++;
    }
    if (wal_read_job_new(wal, g, read->first, n, &job) != 0) {
        return answer_later(wal, read, ERR_NOMEM);
    }
    job->data = read;
    job->done = read_answered;
    wal->stats.cache_misses++;
    wal_read_job_start(job);
    return false;
}
