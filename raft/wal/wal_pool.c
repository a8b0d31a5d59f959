/* Files before and after their time: prepared ahead, so that the path to an acknowledgement never waits for the file
 * system, and recycled where possible, because rewriting a file is twice as fast as filling a new one. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/wal/wal_encode.h"

struct pool_job {
    struct wal_job job;
    char from[ENV_PATH_MAX]; /* a file to rename, or "" */
    char to[ENV_PATH_MAX];   /* its new name, or what to make; "": unlink @from */
    uint64_t size;
    bool make;
    bool zero_fill;
    struct wal_file *file;   /* prepare: to be opened; retire: to be closed */
    uint64_t sequence;
    int status;
    uint64_t disk_free;
};

static struct pool_job *pool_job_of(struct wal_job *job)
{
    return container_of(job, struct pool_job, job);
}

static void pool_job_destroy(struct wal_job *base)
{
    struct pool_job *job = pool_job_of(base);

    if (job->file != NULL) {
        wal_file_free(base->wal, job->file);
    }
    free(job);
}

/* ---- on a worker ------------------------------------------------------------------------------------------------- */

static int make_file(struct env *env, const struct pool_job *job)
{
    struct env_file *file;
    int rv;

    rv = env_file_open(env, job->to, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file);
    if (rv != 0) {
        return rv;
    }
    rv = env_file_allocate(env, file, job->size, job->zero_fill);
    if (rv == 0) {
        rv = env_file_sync(env, file);
    }
    env_file_close(env, file);
    return rv;
}

static void prepare_run(struct env_work *work)
{
    struct pool_job *job = pool_job_of(container_of(work, struct wal_job, work));
    struct env *env = job->job.wal->env;
    int rv;

    rv = job->make ? make_file(env, job) : env_path_rename(env, job->from, job->to);
    if (rv == 0 && !MUTANT(FILE_NAME_NOT_SYNCED)) {
        rv = env_dir_sync(env, job->job.wal->dir);
    }
    if (rv == 0 && job->file != NULL) {
        rv = env_file_open(env, job->to, ENV_OPEN_READ | ENV_OPEN_WRITE, &job->file->file);
    }
    if (rv != 0 && job->make) {
        (void)env_path_unlink(env, job->to);
    }
    job->status = rv;
    if (env_disk_free(env, job->job.wal->dir, &job->disk_free) != 0) {
        job->disk_free = UINT64_MAX;
    }
}

static void retire_run(struct env_work *work)
{
    struct pool_job *job = pool_job_of(container_of(work, struct wal_job, work));
    struct env *env = job->job.wal->env;

    job->status = job->to[0] != 0 ? env_path_rename(env, job->from, job->to) : env_path_unlink(env, job->from);
    /* Closed here: giving back the space of an unlinked file takes its time. */
    wal_file_free(job->job.wal, job->file);
    job->file = NULL;
    if (job->status == 0) {
        job->status = env_dir_sync(env, job->job.wal->dir);
    }
}

static void sample_run(struct env_work *work)
{
    struct pool_job *job = pool_job_of(container_of(work, struct wal_job, work));
    struct env *env = job->job.wal->env;

    if (env_disk_free(env, job->job.wal->dir, &job->disk_free) != 0) {
        job->disk_free = UINT64_MAX;
    }
}

/* ---- preparing --------------------------------------------------------------------------------------------------- */

static void failed(struct wal *wal, const struct pool_job *job)
{
    log_event(wal->env->logger, LOG_WARN, "wal_file_failed", "shard=%u name=%s error=%s", wal->params.shard,
              job->make ? job->to : job->from, err_name(job->status));
    if (job->status == ERR_NO_SPACE) {
        wal->disk_free = 0;
    }
}

static void prepare_complete(struct wal_job *base)
{
    struct pool_job *job = pool_job_of(base);
    struct wal *wal = base->wal;

    wal->preparing = false;
    wal->disk_free = job->disk_free;
    if (job->status != 0) {
        failed(wal, job);
        if (!job->make) {
            wal->stats.bytes_total -= wal->params.file_size_bytes;
            wal_prepare_next(wal); /* a new one instead */
        }
        return; /* the tick tries again */
    }
    if (job->make) {
        wal->stats.bytes_total += job->size;
    } else {
        wal->stats.files_recycled++;
    }
    wal->next = job->file;
    job->file = NULL;
    if (wal->stalled) {
        wal->stalled = false;
        wal_flush_start(wal, false);
        if (!wal->flush.running) { /* it was for what nobody waits for */
            env_timer_start(wal->env, &wal->closing_timer, WAL_CLOSING_DELAY_MS);
        }
    }
}

/* A file's checkpoint must leave room for what the file is for. */
uint64_t wal_file_size_due(const struct wal *wal)
{
    uint64_t least = WAL_BLOCK_SIZE + 4 * (uint64_t)wal_checkpoint_size(wal->n_slots, wal->n_streamed);

    return least > wal->params.file_size_bytes ? least : wal->params.file_size_bytes;
}

void wal_prepare_next(struct wal *wal)
{
    struct pool_job *job;

    if (wal->next != NULL || wal->preparing || (wal->closing && !wal->stalled)) {
        return;
    }
    job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return; /* the tick tries again */
    }
    job->sequence = wal->file_sequence_last + 1;
    job->size = wal_file_size_due(wal);
    job->file = wal_file_new(job->sequence, job->size);
    if (job->file == NULL) {
        free(job);
        return;
    }
    wal->file_sequence_last++;
    job->file->generation = env_random(wal->env);
    wal_file_set_salt(job->file, wal_salt(&wal->uuid, job->sequence, job->file->generation));
    wal_path(wal, "wal", job->sequence, job->to);
    job->make = wal->n_ready == 0 || job->size != wal->params.file_size_bytes;
    if (!job->make) {
        wal_path(wal, "ready", wal->ready[--wal->n_ready], job->from);
    }
    /* Zeros make small flushes twice as fast, but cost the disk and a core once more: not while files fill quickly
     * (then flushes are large, and lose little on extents never written; measured: 155 against 285 MB/s). */
    job->zero_fill = !wal->stalled && wal->file_took_ns > WAL_ZERO_FILL_MIN_NS;
    wal->preparing = true;
    wal_job_start(wal, &job->job, prepare_run, prepare_complete, pool_job_destroy);
}

/* ---- retiring ---------------------------------------------------------------------------------------------------- */

static void retire_complete(struct wal_job *base)
{
    struct pool_job *job = pool_job_of(base);
    struct wal *wal = base->wal;

    if (job->to[0] != 0) {
        wal->ready_coming--;
    }
    if (job->status != 0) {
        failed(wal, job); /* the name is a leftover that the next recovery deletes */
    } else if (job->to[0] != 0) {
        wal->ready[wal->n_ready++] = job->sequence;
        return;
    }
    wal->stats.bytes_total -= job->size;
}

void wal_retire(struct wal *wal, struct wal_file *file)
{
    struct pool_job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        wal_fatal_nomem(wal);
    }
    job->sequence = file->sequence;
    job->size = file->size;
    job->file = file;
    wal_path(wal, "wal", file->sequence, job->from);
    if (file->size == wal->params.file_size_bytes && wal->n_ready + wal->ready_coming < WAL_READY_FILES_MAX) {
        wal_path(wal, "ready", file->sequence, job->to);
        wal->ready_coming++;
    }
    wal_job_start(wal, &job->job, retire_run, retire_complete, pool_job_destroy);
}

/* ---- housekeeping ------------------------------------------------------------------------------------------------ */

static void sample_complete(struct wal_job *base)
{
    base->wal->sampling = false;
    base->wal->disk_free = pool_job_of(base)->disk_free;
}

static void sample_start(struct wal *wal)
{
    struct pool_job *job = wal->sampling ? NULL : calloc(1, sizeof(*job));

    if (job != NULL) {
        wal->sampling = true;
        wal_job_start(wal, &job->job, sample_run, sample_complete, pool_job_destroy);
    }
}

static void top_up_complete(struct wal_job *base)
{
    struct pool_job *job = pool_job_of(base);
    struct wal *wal = base->wal;

    wal->ready_coming--;
    wal->disk_free = job->disk_free;
    if (job->status != 0) {
        failed(wal, job);
        return;
    }
    wal->stats.bytes_total += job->size;
    wal->ready[wal->n_ready++] = job->sequence;
}

/* One zero-filled file in reserve, made while nothing else goes on. */
static void top_up(struct wal *wal)
{
    bool idle = env_now_ns(wal->env) - wal->flushed_last_ns > WAL_TICK_MS * 1000000ull / 2;
    struct pool_job *job;

    if (!idle || wal->next == NULL || wal->n_ready + wal->ready_coming > 0 || wal_accepts(wal) != 0 ||
        (wal->params.size_max_bytes > 0 &&
         wal->stats.bytes_total + wal->params.file_size_bytes + wal->params.reserve_bytes > wal->params.size_max_bytes)) {
        return;
    }
    job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return;
    }
    job->sequence = ++wal->file_sequence_last;
    job->size = wal->params.file_size_bytes;
    job->make = true;
    job->zero_fill = true;
    wal_path(wal, "ready", job->sequence, job->to);
    wal->ready_coming++;
    wal_job_start(wal, &job->job, prepare_run, top_up_complete, pool_job_destroy);
}

void wal_tick_fire(struct timer *timer)
{
    struct wal *wal = container_of(timer, struct wal, tick);

    env_timer_start(wal->env, timer, WAL_TICK_MS);
    if (wal->closing) {
        if (wal->stalled) {
            wal_prepare_next(wal);
        }
        return;
    }
    sample_start(wal);
    wal_prepare_next(wal);
    top_up(wal);
    wal->reclaim_due = true;
    env_wake(wal->env);
}
