/* Work for the pool's threads, kept on a list so that a log that is abandoned can free it. */
#include "raft/wal/wal_internal.h"

static void job_done(struct env_work *work)
{
    struct wal_job *job = container_of(work, struct wal_job, work);
    struct wal *wal = job->wal;

    list_remove(&job->link);
    wal->jobs--;
    job->complete(job);
    job->destroy(job);
    env_wake(wal->env);
}

void wal_job_start(struct wal *wal, struct wal_job *job, void (*run)(struct env_work *work),
                   void (*complete)(struct wal_job *job), void (*destroy)(struct wal_job *job))
{
    job->wal = wal;
    job->work.run = run;
    job->work.done = job_done;
    job->complete = complete;
    job->destroy = destroy;
    list_push_back(&wal->job_list, &job->link);
    wal->jobs++;
    env_work(wal->env, ENV_QUEUE_POOL, &job->work);
}

void wal_jobs_abandon(struct wal *wal)
{
    struct list *node;

    while ((node = list_pop_front(&wal->job_list)) != NULL) {
        struct wal_job *job = list_entry(node, struct wal_job, link);
        job->destroy(job);
    }
}
