/* The world as a vtable: clock, random, timers, files, network, worker threads, mailboxes. Everything above raft/env
 * touches the outside only through this, so the same code runs on libuv (env_uv.c) and in a deterministic simulation
 * (tests/sim). Nothing above may find out which of the two it is.
 *
 * One `struct env` is one event loop on one thread. Every function is for that loop's thread unless it says "any
 * thread" or "worker". Callbacks run on the loop's thread, never inside the call that starts the work. */
#ifndef CAIRN_ENV_H
#define CAIRN_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "proto/base/err.h"
#include "proto/base/list.h"
#include "proto/base/log.h"
#include "raft/env/timers.h"

struct env;
struct env_file;     /* an open file */
struct env_listener; /* a listening socket */
struct env_conn;     /* a TCP connection, TCP_NODELAY set */
struct env_lock;     /* an exclusive lock on a data directory */

#define ENV_PATH_MAX 512
#define ENV_ADDRESS_MAX 256 /* "host:port" with its NUL; an IPv6 host stands in brackets */
#define ENV_IOV_MAX 1024    /* iovecs a call */
#define ENV_DIRECT_ALIGN 4096 /* alignment of address, size and offset with ENV_OPEN_DIRECT */
#define ENV_CONNECT_TIMEOUT_MS 5000 /* env_connect() gives up: ERR_TIMEOUT */
#define ENV_FATAL_EXIT 70 /* the process's exit code after env_fatal() */

/* ---- end of turn ---------------------------------------------------------------------------------------------- */

/* A turn of the loop is one round of ready callbacks. Hooks run after them, before the loop waits again, in the order
 * of their phases: here queues become one write per peer and one flush per shard. */
struct env_hook {
    void (*run)(struct env_hook *hook);
    int phase; /* enum env_phase */
    struct list link;
};

/* What happens at the end of a turn, in this order; within a phase in the order of registration. What is sent leaves before
 * the own flush, which may block the loop: peers sync at the same time as we do. */
enum env_phase {
    ENV_PHASE_DECIDE, /* what the turn has brought becomes proposals */
    ENV_PHASE_SUBMIT, /* groups submit them, and apply what is committed */
    ENV_PHASE_SEND,   /* messages to peers: one write a peer */
    ENV_PHASE_FLUSH,  /* the shard log: one flush for all groups */
    ENV_PHASE_WAKE,   /* requests that were parked go on */
    ENV_PHASE_LAST    /* answers: one write a connection */
};

/* ---- work on other threads ------------------------------------------------------------------------------------ */

enum env_queue {
    ENV_QUEUE_WRITER, /* one thread a loop: the shard log's flushes, in order */
    ENV_QUEUE_POOL    /* a few shared threads: reads, file creation, compression */
};

/* The caller embeds it and keeps it until @done has run. @run is on a worker (only "worker" calls are allowed there,
 * and memory the caller handed over for the time), then @done on the loop's thread, exactly once.
 * In a crash (simulated or real) anything between @run's start and @done may or may not have reached the disk. */
struct env_work {
    void (*run)(struct env_work *work);
    void (*done)(struct env_work *work);
    void *impl[8]; /* the environment's */
};

/* ---- mailboxes ------------------------------------------------------------------------------------------------ */

/* A message to another loop (or to one's own, later in time). The sender allocates; after @run the receiver owns it. */
struct env_message {
    void (*run)(struct env_message *message); /* on the target loop's thread */
    struct env_message *next;                 /* the mailbox's */
};

/* ---- network -------------------------------------------------------------------------------------------------- */

/* Filled by the owner of a connection before reading starts. */
struct env_conn_callbacks {
    /* Where the next read goes; *len 0 pauses reading until env_conn_read_start(). It may be asked again without a read
     * in between (nothing had come after all). */
    void (*alloc)(struct env_conn *conn, void *data, uint8_t **base, size_t *len);
    /* @n bytes were read (> 0), or the connection ended: 0 = peer closed its side, < 0 = -(error of err.h). After an
     * end no more reads come; the owner calls env_conn_close(). */
    void (*read)(struct env_conn *conn, void *data, ssize_t n);
};

/* An asynchronous write: the caller embeds it. The bytes stay untouched until @done; the array of iovecs is needed in the
 * call only. Once one write of a connection has failed all later ones do: the owner closes it. */
struct env_write {
    void (*done)(struct env_write *write, int status); /* exactly once, also on close (ERR_CLOSED) */
    void *impl[40];
};

typedef void (*env_accept_cb)(struct env_listener *listener, void *data, struct env_conn *conn);
/* @status 0: @conn is open and the owner's; else NULL. */
typedef void (*env_connect_cb)(struct env *env, void *data, int status, struct env_conn *conn);
typedef void (*env_closed_cb)(void *data);

/* ---- files ---------------------------------------------------------------------------------------------------- */

enum env_open_flags {
    ENV_OPEN_READ = 1,
    ENV_OPEN_WRITE = 2,
    ENV_OPEN_CREATE = 4,    /* make it if it is not there */
    ENV_OPEN_EXCLUSIVE = 8, /* with CREATE: ERR_EXISTS if it is there */
    ENV_OPEN_DIRECT = 16,   /* past the page cache; falls back (silently) where the file system has none */
    ENV_OPEN_TRUNCATE = 32
};

enum env_sync {
    ENV_SYNC_NONE, /* only written: durable by a later env_file_sync */
    ENV_SYNC_DATA  /* these bytes are durable at return (RWF_DSYNC, or write + fdatasync); earlier ENV_SYNC_NONE writes
                      of the file may not be */
};

struct env_ops {
    /* clock: monotonic nanoseconds (never goes back), wall clock in ms since 1970 (may jump) */
    uint64_t (*now_ns)(struct env *env);
    int64_t (*wall_ms)(struct env *env);
    /* unpredictable (or, in a simulation, seeded) bits */
    uint64_t (*random)(struct env *env);
    /* the loop must wake when timers_next(&env->timers) changed */
    void (*timers_changed)(struct env *env);
    void (*wake)(struct env *env); /* run the hooks at the end of this turn even if nothing else happened */

    void (*work)(struct env *env, enum env_queue queue, struct env_work *work);
    void (*post)(struct env *env, struct env_message *message);

    int (*listen)(struct env *env, const char *address, env_accept_cb accept, void *data, struct env_listener **out,
                  char *errmsg);
    const char *(*listener_address)(struct env_listener *listener);
    void (*listener_close)(struct env_listener *listener);
    int (*connect)(struct env *env, const char *address, env_connect_cb cb, void *data);
    void (*conn_read_start)(struct env_conn *conn, const struct env_conn_callbacks *callbacks, void *data);
    void (*conn_read_stop)(struct env_conn *conn);
    void (*conn_write)(struct env_conn *conn, struct env_write *write, const struct iovec *iov, size_t n_iov);
    const char *(*conn_peer)(struct env_conn *conn);
    void (*conn_close)(struct env_conn *conn, env_closed_cb cb, void *data);

    int (*file_open)(struct env *env, const char *path, unsigned flags, struct env_file **out);
    void (*file_close)(struct env_file *file);
    int (*file_size)(struct env_file *file, uint64_t *size);
    int (*file_read)(struct env_file *file, void *data, size_t size, uint64_t offset, size_t *n);
    int (*file_write)(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset, enum env_sync sync);
    int (*file_sync)(struct env_file *file);
    int (*file_allocate)(struct env_file *file, uint64_t size, bool zero_fill);
    int (*file_truncate)(struct env_file *file, uint64_t size);
    int (*dir_make)(struct env *env, const char *path);
    int (*dir_list)(struct env *env, const char *path, void (*each)(void *data, const char *name), void *data);
    int (*dir_sync)(struct env *env, const char *path);
    int (*path_rename)(struct env *env, const char *from, const char *to);
    int (*path_unlink)(struct env *env, const char *path);
    int (*disk_free)(struct env *env, const char *path, uint64_t *bytes);
    int (*lock_acquire)(struct env *env, const char *path, struct env_lock **out);
    void (*lock_release)(struct env_lock *lock);

    /* more loops of the same program: a loop that is made but not yet started, its thread, its end */
    int (*loop_new)(struct env *env, struct env **out);
    int (*loop_start)(struct env *loop, void (*entry)(struct env *loop, void *data), void *data);
    void (*loop_stop)(struct env *loop);                     /* any thread: the loop returns after this turn */
    void (*loop_free)(struct env *loop);                     /* joins its thread; from the loop that made it */
    void (*fatal)(struct env *env, const char *reason) __attribute__((noreturn)); /* I7: the node stops, loudly */
};

/* First member of every environment. */
struct env {
    const struct env_ops *ops;
    struct logger *logger;  /* borrowed */
    struct timers timers;
    struct list hooks;
};

/* Monotonic time. Any thread. */
static inline uint64_t env_now_ns(struct env *env)
{
    return env->ops->now_ns(env);
}

static inline uint64_t env_now_ms(struct env *env)
{
    return env->ops->now_ns(env) / 1000000u;
}

/* Wall clock, ms since 1970. For people and for entry times only; may jump. Any thread. */
static inline int64_t env_wall_ms(struct env *env)
{
    return env->ops->wall_ms(env);
}

static inline uint64_t env_random(struct env *env)
{
    return env->ops->random(env);
}

/* Timers: plain structs on a heap that both environments share; stopping is immediate, nothing to close. */
static inline void env_timer_start(struct env *env, struct timer *timer, uint64_t delay_ms)
{
    timers_start(&env->timers, timer, env_now_ns(env) + delay_ms * 1000000u);
    env->ops->timers_changed(env);
}

static inline void env_timer_stop(struct env *env, struct timer *timer)
{
    timers_stop(&env->timers, timer);
}

static inline void env_hook_add_at(struct env *env, struct env_hook *hook, enum env_phase phase)
{
    struct list *after = env->hooks.prev;
    hook->phase = phase;
    while (after != &env->hooks && list_entry(after, struct env_hook, link)->phase > (int)phase) {
        after = after->prev;
    }
    list_push_front(after, &hook->link);
}

static inline void env_hook_add(struct env *env, struct env_hook *hook)
{
    env_hook_add_at(env, hook, ENV_PHASE_LAST);
}

static inline void env_hook_remove(struct env_hook *hook)
{
    list_remove(&hook->link);
}

/* Make sure that the hooks run at the end of this turn. */
static inline void env_wake(struct env *env)
{
    env->ops->wake(env);
}

static inline void env_work(struct env *env, enum env_queue queue, struct env_work *work)
{
    env->ops->work(env, queue, work);
}

/* Any thread. @env is the receiver's loop. */
static inline void env_post(struct env *env, struct env_message *message)
{
    env->ops->post(env, message);
}

/* Listen on "host:port" (port 0: any free one, see env_listener_address). On failure @errmsg (ERRMSG_SIZE) says why.
 * Errors: ERR_INVALID the address, ERR_REFUSED in use or not permitted, ERR_IO. */
MUST_USE static inline int env_listen(struct env *env, const char *address, env_accept_cb accept, void *data,
                                      struct env_listener **out, char *errmsg)
{
    return env->ops->listen(env, address, accept, data, out, errmsg);
}

/* @cb runs exactly once. Errors of the call itself (then @cb does not run): ERR_INVALID, ERR_NOMEM. */
MUST_USE static inline int env_connect(struct env *env, const char *address, env_connect_cb cb, void *data)
{
    return env->ops->connect(env, address, cb, data);
}

/* The network calls without an env argument find it in their object; these forward for symmetry. */
#define env_listener_address(env, listener) ((env)->ops->listener_address(listener)) /* as bound: "127.0.0.1:41234" */
#define env_listener_close(env, listener) ((env)->ops->listener_close(listener))
#define env_conn_read_start(env, conn, callbacks, data) ((env)->ops->conn_read_start(conn, callbacks, data))
#define env_conn_read_stop(env, conn) ((env)->ops->conn_read_stop(conn))
/* Writes go out in order. Small ones should be joined by the caller: one write a connection and turn. */
#define env_conn_write(env, conn, write, iov, n_iov) ((env)->ops->conn_write(conn, write, iov, n_iov))
#define env_conn_peer(env, conn) ((env)->ops->conn_peer(conn)) /* "host:port" of the other side; until close */
/* Outstanding writes end with ERR_CLOSED first, then @cb (may be NULL) runs; the conn is gone after that. No read
 * callback comes after this call. */
#define env_conn_close(env, conn, cb, data) ((env)->ops->conn_close(conn, cb, data))

/* Files: synchronous calls for start-up on the loop's thread and for "worker" use inside env_work. Results are codes
 * of err.h (ERR_NOT_FOUND, ERR_EXISTS, ERR_NO_SPACE, ERR_IO, ...). A file may be used by one thread at a time, but
 * file_read is safe beside anything. */
#define env_file_open(env, path, flags, out) ((env)->ops->file_open(env, path, flags, out))
#define env_file_close(env, file) ((env)->ops->file_close(file))
#define env_file_size(env, file, size) ((env)->ops->file_size(file, size))
/* Reads up to the end of the file: *n < size only there. */
#define env_file_read(env, file, data, size, offset, n) ((env)->ops->file_read(file, data, size, offset, n))
/* All or an error; the iovecs are not changed. After an error other than ERR_NO_SPACE and ERR_TOO_BIG, or a failed sync, the
 * file's content is not known and every later write and sync fails. */
#define env_file_write(env, file, iov, n_iov, offset, sync) ((env)->ops->file_write(file, iov, n_iov, offset, sync))
#define env_file_sync(env, file) ((env)->ops->file_sync(file)) /* once failed stays failed: never retried (ATC'20) */
/* Grow the file to @size (never shrinks, keeps what is there); @zero_fill writes zeros (later writes need no metadata),
 * else fallocate. Not durable before sync. */
#define env_file_allocate(env, file, size, zero_fill) ((env)->ops->file_allocate(file, size, zero_fill))
#define env_file_truncate(env, file, size) ((env)->ops->file_truncate(file, size))
#define env_dir_make(env, path) ((env)->ops->dir_make(env, path)) /* ERR_EXISTS when there */
#define env_dir_list(env, path, each, data) ((env)->ops->dir_list(env, path, each, data)) /* no "." and ".." */
#define env_dir_sync(env, path) ((env)->ops->dir_sync(env, path)) /* entries made, renamed, unlinked are durable */
#define env_path_rename(env, from, to) ((env)->ops->path_rename(env, from, to))
#define env_path_unlink(env, path) ((env)->ops->path_unlink(env, path)) /* a file or an empty directory */
#define env_disk_free(env, path, bytes) ((env)->ops->disk_free(env, path, bytes))
/* ERR_BUSY: another process holds it. */
#define env_lock_acquire(env, path, out) ((env)->ops->lock_acquire(env, path, out))
#define env_lock_release(env, lock) ((env)->ops->lock_release(lock))

/* More loops. env_loop_new: its own timers and hooks, the same world; it runs after env_loop_start, which calls @entry
 * on the new thread before the first turn. A loop that was told to stop first waits for the work it has started, and runs
 * its `done`; afterwards it runs no callback any more: a message posted to it then is lost, and what is still open is
 * closed by env_loop_free without telling its owner. */
#define env_loop_new(env, out) ((env)->ops->loop_new(env, out))
#define env_loop_start(loop, entry, data) ((loop)->ops->loop_start(loop, entry, data))
#define env_loop_stop(loop) ((loop)->ops->loop_stop(loop))
#define env_loop_free(loop) ((loop)->ops->loop_free(loop))

/* I7: log, then end the node at once without any clean-up that could touch the disk. Any thread; a worker as well. */
#define env_fatal(env, reason) ((env)->ops->fatal(env, reason))

#endif
