/* Worker threads: one writer a loop, a small pool for all loops. Work comes back as a message to its loop. */
#include <assert.h>
#include <stdlib.h>

#include "raft/env/env_uv_impl.h"

/* Behind env_work.impl. */
struct work_impl {
    struct env_message message; /* to the writer's box, later to the loop's: never both */
    struct env_uv *e;
    struct work_impl *next; /* in the pool's queue */
};

static_assert(sizeof(struct work_impl) <= sizeof(((struct env_work *)0)->impl), "env_work.impl is too small");

struct env_uv_pool {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct work_impl *first;
    struct work_impl *last;
    bool stop;
    unsigned n_threads;
    pthread_t threads[ENV_UV_POOL_THREADS_MAX];
};

static struct work_impl *impl_of(struct env_work *work)
{
    return (struct work_impl *)(void *)work->impl;
}

static struct env_work *work_of(struct work_impl *impl)
{
    return container_of(impl, struct env_work, impl);
}

/* On the loop's thread. */
static void work_done(struct env_message *message)
{
    struct work_impl *impl = container_of(message, struct work_impl, message);
    struct env_work *work = work_of(impl);
    assert(impl->e->work_outstanding > 0);
    impl->e->work_outstanding--;
    work->done(work);
}

/* On a worker. The work may be gone as soon as it is posted. */
static void work_execute(struct work_impl *impl)
{
    struct env_work *work = work_of(impl);
    work->run(work);
    impl->message.run = work_done;
    env_uv_post(&impl->e->env, &impl->message);
}

static void *writer_main(void *arg)
{
    struct env_uv_writer *writer = arg;
    pthread_setname_np(pthread_self(), "cairn-writer");
    for (;;) {
        mailbox_wait(&writer->box);
        struct env_message *message = mailbox_take(&writer->box);
        while (message != NULL) {
            struct env_message *next = message->next;
            if (message == &writer->stop) {
                assert(next == NULL);
                return NULL;
            }
            work_execute(container_of(message, struct work_impl, message));
            message = next;
        }
    }
}

int env_uv_writer_start(struct env_uv_writer *writer)
{
    mailbox_init(&writer->box);
    int rv = pthread_create(&writer->thread, NULL, writer_main, writer);
    return rv == 0 ? 0 : err_from_errno(rv);
}

void env_uv_writer_stop(struct env_uv_writer *writer)
{
    bool poll = mailbox_push(&writer->box, &writer->stop);
    assert(!poll);
    (void)poll;
    pthread_join(writer->thread, NULL);
}

static void *pool_main(void *arg)
{
    struct env_uv_pool *pool = arg;
    pthread_setname_np(pthread_self(), "cairn-pool");
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct work_impl *impl = pool->first;
        if (impl != NULL) {
            pool->first = impl->next;
            pthread_mutex_unlock(&pool->mutex);
            work_execute(impl);
            pthread_mutex_lock(&pool->mutex);
        } else if (pool->stop) {
            break;
        } else {
            pthread_cond_wait(&pool->cond, &pool->mutex);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

int env_uv_pool_new(unsigned n_threads, struct env_uv_pool **out)
{
    if (n_threads == 0) {
        n_threads = ENV_UV_POOL_THREADS_DEFAULT;
    }
    if (n_threads > ENV_UV_POOL_THREADS_MAX) {
        n_threads = ENV_UV_POOL_THREADS_MAX;
    }
    struct env_uv_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return ERR_NOMEM;
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->cond, NULL);
    while (pool->n_threads < n_threads) {
        int rv = pthread_create(&pool->threads[pool->n_threads], NULL, pool_main, pool);
        if (rv != 0) {
            env_uv_pool_free(pool);
            return err_from_errno(rv);
        }
        pool->n_threads++;
    }
    *out = pool;
    return 0;
}

void env_uv_pool_free(struct env_uv_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    assert(pool->first == NULL);
    pool->stop = true;
    pthread_cond_broadcast(&pool->cond);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->n_threads; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->cond);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

static void pool_submit(struct env_uv_pool *pool, struct work_impl *impl)
{
    impl->next = NULL;
    pthread_mutex_lock(&pool->mutex);
    if (pool->first == NULL) {
        pool->first = impl;
    } else {
        pool->last->next = impl;
    }
    pool->last = impl;
    pthread_mutex_unlock(&pool->mutex);
    /* Outside the mutex, so that the woken thread does not run into it. */
    pthread_cond_signal(&pool->cond);
}

void env_uv_work(struct env *env, enum env_queue queue, struct env_work *work)
{
    struct env_uv *e = env_uv_of(env);
    struct work_impl *impl = impl_of(work);
    impl->e = e;
    impl->message.run = NULL;
    e->work_outstanding++;
    if (queue == ENV_QUEUE_POOL) {
        pool_submit(e->pool, impl);
        return;
    }
    bool poll = mailbox_push(&e->writer.box, &impl->message);
    assert(!poll);
    (void)poll;
}
