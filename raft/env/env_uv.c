/* The real environment's loop: turns, timers, mailbox, and the loops' lives. */
#include "raft/env/env_uv.h"

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "raft/env/env_uv_impl.h"

/* ---- clock, random ---- */

static uint64_t now_ns(struct env *env)
{
    return uv_hrtime();
}

static int64_t wall_ms(struct env *env)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* xoshiro256++ (Blackman, Vigna), seeded by the kernel: unpredictable enough for timeouts and ids; no keys are made
 * from it. */
static uint64_t random_next(struct env *env)
{
    uint64_t *s = env_uv_of(env)->random;
    uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

static int random_seed(struct env_uv *e)
{
    ssize_t n = getrandom(e->random, sizeof e->random, 0); /* up to 256 bytes are never cut short */
    if (n != (ssize_t)sizeof e->random) {
        return ERR_IO;
    }
    e->random[0] |= 1; /* the generator's state must not be all zero */
    return 0;
}

/* ---- the turn ---- */

/* Both are no more than a note: they are called inside a turn, and its end arms the timer and runs the hooks. */
static void timers_changed(struct env *env)
{
}

static void wake(struct env *env)
{
    env_uv_of(env)->again = true;
}

static void run_messages(struct env_uv *e)
{
    struct env_message *message = mailbox_take(&e->mailbox);
    while (message != NULL) {
        struct env_message *next = message->next;
        message->run(message);
        message = next;
    }
}

static void run_deferred(struct env_uv *e)
{
    struct list batch;
    struct list *node;
    list_init(&batch);
    list_splice_back(&batch, &e->deferred);
    while ((node = list_pop_front(&batch)) != NULL) {
        struct env_uv_deferred *deferred = list_entry(node, struct env_uv_deferred, link);
        deferred->run(deferred);
    }
}

/* A marker walks the list, so that a hook may remove itself and any other, and add new ones. */
static void run_hooks(struct env_uv *e)
{
    struct env_hook marker = {.phase = ENV_PHASE_DECIDE};
    struct list *hooks = &e->env.hooks;
    list_push_front(hooks, &marker.link);
    while (marker.link.next != hooks) {
        struct list *node = marker.link.next;
        list_remove(&marker.link);
        list_push_front(node, &marker.link);
        struct env_hook *hook = list_entry(node, struct env_hook, link);
        hook->run(hook);
    }
    list_remove(&marker.link);
}

/* True when nothing is left to do before the loop may block. */
static bool end_of_turn(struct env_uv *e)
{
    mailbox_awake(&e->mailbox);
    run_messages(e);
    for (int round = 0; round < ENV_UV_HOOK_ROUNDS_MAX; round++) {
        e->again = false;
        run_deferred(e);
        run_hooks(e);
        if (!e->again && list_empty(&e->deferred)) {
            return true;
        }
    }
    return false;
}

static void on_timer(uv_timer_t *handle)
{
    struct env_uv *e = container_of(handle, struct env_uv, timer);
    e->armed_ns = UINT64_MAX;
    timers_run(&e->env.timers, uv_hrtime());
}

static void arm_timer(struct env_uv *e)
{
    uint64_t next_ns = timers_next(&e->env.timers);
    if (next_ns == e->armed_ns) {
        return;
    }
    e->armed_ns = next_ns;
    if (next_ns == UINT64_MAX) {
        uv_timer_stop(&e->timer);
        return;
    }
    /* Rounded up to libuv's milliseconds; if its coarser clock fires early all the same, nothing is due and the end
     * of that turn arms it again. */
    uint64_t now = uv_hrtime();
    uint64_t delay_ms = next_ns <= now ? 0 : (next_ns - now + 999999u) / 1000000u;
    uv_timer_start(&e->timer, on_timer, delay_ms, 0);
}

static void on_idle(uv_idle_t *handle)
{
}

/* libuv's last step before it polls: sockets and timers of this turn have had their callbacks. */
static void on_prepare(uv_prepare_t *handle)
{
    struct env_uv *e = container_of(handle, struct env_uv, prepare);
    bool settled = end_of_turn(e);
    arm_timer(e);
    /* In this order: what comes in after mailbox_sleep() wakes the loop through its async handle. */
    bool block = mailbox_sleep(&e->mailbox) && settled;
    if (atomic_load(&e->stop)) {
        uv_stop(&e->loop);
    }
    if (block) {
        uv_idle_stop(&e->idle);
    } else {
        uv_idle_start(&e->idle, on_idle);
    }
}

static void on_async(uv_async_t *handle)
{
    /* Only to end the poll: the end of the turn takes the messages. */
}

/* ---- from other threads ---- */

void env_uv_post(struct env *env, struct env_message *message)
{
    struct env_uv *e = env_uv_of(env);
    atomic_fetch_add(&e->posting, 1);
    if (mailbox_push(&e->mailbox, message)) {
        uv_async_send(&e->async);
    }
    atomic_fetch_sub(&e->posting, 1);
}

static void loop_stop(struct env *env)
{
    struct env_uv *e = env_uv_of(env);
    atomic_fetch_add(&e->posting, 1);
    atomic_store(&e->stop, true);
    if (mailbox_wake(&e->mailbox)) {
        uv_async_send(&e->async);
    }
    atomic_fetch_sub(&e->posting, 1);
}

__attribute__((noreturn)) static void fatal(struct env *env, const char *reason)
{
    char quoted[512];
    log_event(env->logger, LOG_ERROR, "fatal", "reason=%s", log_quote(quoted, sizeof quoted, reason));
    _exit(ENV_FATAL_EXIT);
}

/* ---- life of a loop ---- */

/* Wait for all work that was started, and run its `done`: afterwards no worker touches an owner's memory. */
static void finish_work(struct env_uv *e)
{
    for (;;) {
        (void)end_of_turn(e);
        if (e->work_outstanding == 0) {
            return;
        }
        mailbox_wait(&e->mailbox);
    }
}

void env_uv_run(struct env *env)
{
    struct env_uv *e = env_uv_of(env);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    finish_work(e);
    atomic_store(&e->stop, false);
}

static void *loop_main(void *arg)
{
    struct env_uv *e = arg;
    pthread_setname_np(pthread_self(), "cairn-loop");
    e->entry(&e->env, e->entry_data);
    env_uv_run(&e->env);
    return NULL;
}

static int loop_start(struct env *env, void (*entry)(struct env *loop, void *data), void *data)
{
    struct env_uv *e = env_uv_of(env);
    assert(!e->started);
    e->entry = entry;
    e->entry_data = data;
    int rv = pthread_create(&e->thread, NULL, loop_main, e);
    if (rv != 0) {
        return err_from_errno(rv);
    }
    e->started = true;
    return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* Close whatever is still open on a loop that does not run, telling no owner. */
static void handles_free(struct env_uv *e)
{
    e->dead = true;
    env_uv_connects_cancel(e);
    uv_walk(&e->loop, close_handle, NULL);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    int rv = uv_loop_close(&e->loop);
    assert(rv == 0);
    (void)rv;
    env_uv_connects_free(e);
    env_uv_listeners_free(e);
    struct list *node;
    while ((node = list_pop_front(&e->conns)) != NULL) {
        free(list_entry(node, struct env_conn, link));
    }
}

static int handles_init(struct env_uv *e)
{
    int rv = uv_loop_init(&e->loop);
    if (rv != 0) {
        return env_uv_err(rv);
    }
    rv = uv_async_init(&e->loop, &e->async, on_async);
    if (rv != 0) {
        uv_loop_close(&e->loop);
        return env_uv_err(rv);
    }
    /* These cannot fail. The async handle alone keeps the loop alive. */
    uv_timer_init(&e->loop, &e->timer);
    uv_prepare_init(&e->loop, &e->prepare);
    uv_idle_init(&e->loop, &e->idle);
    uv_prepare_start(&e->prepare, on_prepare);
    e->armed_ns = UINT64_MAX;
    return 0;
}

static int loop_make(struct logger *logger, struct env_uv_pool *pool, struct env_uv **out);

static int loop_new(struct env *env, struct env **out)
{
    struct env_uv *child;
    int rv = loop_make(env->logger, env_uv_of(env)->pool, &child);
    if (rv == 0) {
        *out = &child->env;
    }
    return rv;
}

static void loop_free(struct env *env)
{
    struct env_uv *e = env_uv_of(env);
    if (e->started) {
        loop_stop(env);
        pthread_join(e->thread, NULL);
    }
    finish_work(e);
    env_uv_writer_stop(&e->writer);
    while (atomic_load(&e->posting) != 0) {
        sched_yield(); /* a thread stands between its push and its return: a matter of microseconds */
    }
    handles_free(e);
    timers_close(&e->env.timers);
    if (e->pool_owned) {
        env_uv_pool_free(e->pool);
    }
    free(e);
}

static const struct env_ops env_uv_ops = {
    .now_ns = now_ns,
    .wall_ms = wall_ms,
    .random = random_next,
    .timers_changed = timers_changed,
    .wake = wake,
    .work = env_uv_work,
    .post = env_uv_post,
    .listen = env_uv_listen,
    .listener_address = env_uv_listener_address,
    .listener_close = env_uv_listener_close,
    .connect = env_uv_connect,
    .conn_read_start = env_uv_conn_read_start,
    .conn_read_stop = env_uv_conn_read_stop,
    .conn_write = env_uv_conn_write,
    .conn_peer = env_uv_conn_peer,
    .conn_close = env_uv_conn_close,
    .file_open = env_uv_file_open,
    .file_close = env_uv_file_close,
    .file_size = env_uv_file_size,
    .file_read = env_uv_file_read,
    .file_write = env_uv_file_write,
    .file_sync = env_uv_file_sync,
    .file_allocate = env_uv_file_allocate,
    .file_truncate = env_uv_file_truncate,
    .dir_make = env_uv_dir_make,
    .dir_list = env_uv_dir_list,
    .dir_sync = env_uv_dir_sync,
    .path_rename = env_uv_path_rename,
    .path_unlink = env_uv_path_unlink,
    .disk_free = env_uv_disk_free,
    .lock_acquire = env_uv_lock_acquire,
    .lock_release = env_uv_lock_release,
    .loop_new = loop_new,
    .loop_start = loop_start,
    .loop_stop = loop_stop,
    .loop_free = loop_free,
    .fatal = fatal,
};

static int loop_make(struct logger *logger, struct env_uv_pool *pool, struct env_uv **out)
{
    struct env_uv *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->env.ops = &env_uv_ops;
    e->env.logger = logger;
    e->pool = pool;
    timers_init(&e->env.timers);
    list_init(&e->env.hooks);
    list_init(&e->deferred);
    list_init(&e->conns);
    list_init(&e->connects);
    list_init(&e->listeners);
    mailbox_init(&e->mailbox);
    int rv = random_seed(e);
    if (rv != 0) {
        goto err;
    }
    rv = handles_init(e);
    if (rv != 0) {
        goto err;
    }
    rv = env_uv_writer_start(&e->writer);
    if (rv != 0) {
        goto err_after_handles;
    }
    *out = e;
    return 0;
err_after_handles:
    handles_free(e);
err:
    free(e);
    return rv;
}

int env_uv_new(const struct env_uv_params *params, struct env **out)
{
    struct env_uv_pool *pool;
    struct env_uv *e;
    /* A peer that went away, or a file size limit, is an error code of the write, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    int rv = env_uv_pool_new(params->pool_threads, &pool);
    if (rv != 0) {
        return rv;
    }
    rv = loop_make(params->logger, pool, &e);
    if (rv != 0) {
        env_uv_pool_free(pool);
        return rv;
    }
    e->pool_owned = true;
    *out = &e->env;
    return 0;
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct env_uv *e = handle->data;
    e->terminate(&e->env, e->terminate_data, signum);
}

int env_uv_on_terminate(struct env *env, void (*cb)(struct env *env, void *data, int signum), void *data)
{
    static const int signums[2] = {SIGTERM, SIGINT};
    struct env_uv *e = env_uv_of(env);
    assert(e->pool_owned && e->terminate == NULL);
    e->terminate = cb;
    e->terminate_data = data;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&e->loop, &e->signals[i]);
        e->signals[i].data = e;
        int rv = uv_signal_start(&e->signals[i], on_signal, signums[i]);
        if (rv != 0) {
            return env_uv_err(rv);
        }
    }
    return 0;
}

void env_uv_free(struct env *env)
{
    assert(env_uv_of(env)->pool_owned);
    loop_free(env);
}
