/* One write and one sync for all groups: when the queue leaves, what happens when it is durable. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/wal/wal_encode.h"

/* By another handle: one that has failed stays so (env.h). Only MUTANT(RETRY_FSYNC) does this. */
static bool sync_again(struct wal_flush *flush)
{
    struct env *env = flush->wal->env;
    char path[ENV_PATH_MAX];
    struct env_file *file;

    wal_path(flush->wal, "wal", flush->file->sequence, path);
    if (env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &file) != 0) {
        return false;
    }
    env_file_close(env, flush->file->file);
    flush->file->file = file;
    return env_file_sync(env, file) == 0;
}

static void flush_run(struct env_work *work)
{
    struct wal_flush *flush = container_of(work, struct wal_flush, work);
    struct env *env = flush->wal->env;

    /* I7: a failed write or sync is final, it is never tried again. fsync once failed stays failed: ATC'20. */
    if (env_file_write(env, flush->file->file, flush->iov, flush->n_iov, flush->offset,
                       MUTANT(ACK_BEFORE_FSYNC) ? ENV_SYNC_NONE : ENV_SYNC_DATA) != 0 &&
        !(MUTANT(RETRY_FSYNC) && sync_again(flush))) {
        env_fatal(env, "shard log: write or sync failed");
    }
}

static void flush_account(struct wal *wal)
{
    struct wal_flush *flush = &wal->flush;
    uint64_t now = env_now_ns(wal->env);
    uint64_t took = now - flush->started_ns;

    wal->flush_ns_average = (wal->flush_ns_average * 7 + took) / 8;
    wal->flushed_last_ns = now;
    wal->stats.flushes++;
    wal->stats.flush_bytes += flush->size;
    wal->stats.flush_ns += took;
    wal->stats.records += flush->n_records;
}

/* The header and checkpoint of the next file are durable: it is the current one. */
static void switch_complete(struct wal *wal)
{
    if (wal->current != NULL) {
        wal->current->state = WAL_FILE_SEALED;
    }
    wal->current = wal->flush.file;
    wal->file_took_ns = env_now_ns(wal->env) - wal->switched_ns;
    wal->switched_ns += wal->file_took_ns;
    wal->reclaim_due = true;
    wal_prepare_next(wal);
}

/* The group is noted outside of this frame: in a simulation a program may end within @done. */
static void write_complete(struct wal *wal, struct wal_write *write)
{
    wal->completing_group = write->group;
    write->done(write);
    if (wal->completing_group != NULL) {
        wal_group_unref(wal->completing_group);
        wal->completing_group = NULL;
    }
}

/* Before anything else is encoded: the next file's checkpoint must not count what was dropped. */
static void drops_complete(struct wal *wal, struct list *done)
{
    list_for_each(node, done)
    {
        const struct wal_write_impl *impl = wal_write_impl(list_entry(node, struct wal_write, link));
        if (impl->op == WAL_OP_DROP) {
            wal_dropped(wal, wal->slots[impl->value]);
        }
    }
}

static void flush_complete(struct wal *wal)
{
    struct wal_flush *flush = &wal->flush;
    struct list *node;

    flush_account(wal);
    flush->file->synced_end = flush->file->end;
    flush->running = false;
    if (flush->is_switch) {
        switch_complete(wal);
    }
    assert(list_empty(&wal->completing));
    list_splice_back(&wal->completing, &flush->done);
    drops_complete(wal, &wal->completing);
    /* What has gathered meanwhile leaves before the completions run, so that the disk and we work side by side. A little
     * waits for what they bring. */
    if (wal->queue_bytes >= WAL_OVERLAP_MIN) {
        wal_flush_start(wal, false);
    }
    while ((node = list_pop_front(&wal->completing)) != NULL) {
        write_complete(wal, list_entry(node, struct wal_write, link));
    }
    wal_cache_evict(wal);
    if (!wal->closed_off && !timer_active(&wal->closing_timer)) {
        env_timer_start(wal->env, &wal->closing_timer, WAL_CLOSING_DELAY_MS);
    }
}

static void flush_done(struct env_work *work)
{
    struct wal *wal = container_of(work, struct wal_flush, work)->wal;

    wal->jobs--;
    flush_complete(wal);
    /* The disk should not wait for the rest of this turn. */
    wal_flush_start(wal, true);
    env_wake(wal->env);
}

static void flush_submit(struct wal *wal, bool may_inline)
{
    struct wal_flush *flush = &wal->flush;

    flush->running = true;
    flush->started_ns = env_now_ns(wal->env);
    if (may_inline) {
        wal->stats.inline_flushes++;
        flush_run(&flush->work);
        flush_complete(wal);
        return;
    }
    flush->work.run = flush_run;
    flush->work.done = flush_done;
    wal->jobs++;
    env_work(wal->env, ENV_QUEUE_WRITER, &flush->work);
}

static void switch_start(struct wal *wal)
{
    struct wal_file *next = wal->next;

    if (next == NULL) {
        wal->stalled = true;
        wal_prepare_next(wal);
        return;
    }
    wal->stalled = false;
    if (wal_file_add(wal, next) != 0 || wal_encode_begin(wal, next, wal->chain.sequence + 1, wal->chain) != 0) {
        wal_fatal_nomem(wal);
    }
    wal->next = NULL;
    wal->closed_off = false;
    flush_submit(wal, false);
}

/* Whether the queue should not even begin in what is left of the current file. */
static bool too_little_room(const struct wal *wal, uint64_t room)
{
    const struct wal_file *file = wal->current;
    uint64_t tail = file->size / 8 < WAL_FLUSH_TAIL_MIN ? file->size / 8 : WAL_FLUSH_TAIL_MIN;

    return room < WAL_BLOCK_SIZE || (room < tail && wal->queue_bytes + WAL_BLOCK_SIZE > room);
}

/* A few small writes: two hand-offs between threads would take as long as the disk does. With more of them at a time the
 * loop had better go on while they are written; it then finds more for the next flush. */
static bool inline_pays(const struct wal *wal, const struct wal_plan *plan)
{
    return plan->heads <= WAL_INLINE_WRITES_MAX && wal->flush.size <= wal->inline_max_bytes &&
           wal->flush_ns_average <= WAL_INLINE_SYNC_MAX_NS;
}

static void flush_next(struct wal *wal, uint16_t flags, bool may_inline)
{
    struct wal_file *file = wal->current;
    uint64_t room = file->size > file->end ? file->size - file->end : 0;
    bool fresh = file->end == file->fresh_end;
    struct wal_plan plan;

    if (!fresh && too_little_room(wal, room)) {
        switch_start(wal);
        return;
    }
    if (wal_plan(wal, &plan, room < WAL_FLUSH_BYTES_MAX ? room : WAL_FLUSH_BYTES_MAX) != 0) {
        wal_fatal_nomem(wal);
    }
    if (plan.bytes > room && !fresh) {
        switch_start(wal);
        return;
    }
    /* A single entry larger than a whole file makes that file grow. */
    wal_encode_flush(wal, &plan, flags);
    wal->queue_bytes -= plan.bytes < wal->queue_bytes ? plan.bytes : wal->queue_bytes;
    if (list_empty(&wal->queue)) {
        wal->queue_bytes = 0;
    }
    wal->closed_off = (flags & WAL_FLUSH_CLOSING) != 0;
    flush_submit(wal, may_inline && inline_pays(wal, &plan));
}

void wal_flush_start(struct wal *wal, bool may_inline)
{
    if (wal->flush.running || wal->n_eager == 0) {
        return;
    }
    flush_next(wal, 0, may_inline);
}

/* Behind the last flush of a busy time: proves that it was whole, and takes along what nobody waits for. */
void wal_flush_close_off(struct wal *wal)
{
    if (wal->flush.running || (wal->closed_off && list_empty(&wal->queue))) {
        return;
    }
    flush_next(wal, list_empty(&wal->queue) ? WAL_FLUSH_CLOSING : 0, false);
}

void wal_closing_fire(struct timer *timer)
{
    struct wal *wal = container_of(timer, struct wal, closing_timer);
    uint64_t idle_ns = env_now_ns(wal->env) - wal->flushed_last_ns;

    if (wal->closed_off && list_empty(&wal->queue)) {
        return;
    }
    if (wal->flush.running || wal->stalled || wal->n_eager > 0 || idle_ns < WAL_CLOSING_DELAY_MS * 1000000ull / 2) {
        env_timer_start(wal->env, timer, WAL_CLOSING_DELAY_MS);
        return;
    }
    wal_flush_close_off(wal);
}
