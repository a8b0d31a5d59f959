/* What the parts of the real environment share. Nobody else includes this. */
#ifndef CAIRN_ENV_UV_IMPL_H
#define CAIRN_ENV_UV_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <uv.h>

#include "raft/env/env.h"
#include "raft/env/env_uv.h"
#include "raft/env/mailbox.h"

#define ENV_UV_POOL_THREADS_DEFAULT 2u
#define ENV_UV_POOL_THREADS_MAX 64u
#define ENV_UV_HOOK_ROUNDS_MAX 4      /* rounds of hooks a turn, then sockets get their share first */
#define ENV_UV_BACKLOG 1024           /* connections that wait to be accepted */
#define ENV_UV_ACCEPT_BATCH_MAX 64    /* connections accepted a turn and listener */
#define ENV_UV_ACCEPT_PAUSE_MS 100u   /* without descriptors: how long connections wait in the backlog */
#define ENV_UV_ZERO_CHUNK_BYTES 65536 /* zeros are written from one block of this size, 16 a call */

struct env_uv_pool;

/* A callback that is owed and must not run inside the call that caused it: it runs at the end of the turn, before the
 * hooks, in the order of deferral. Embedded; no allocation, no syscall. */
struct env_uv_deferred {
    struct list link;
    void (*run)(struct env_uv_deferred *deferred);
};

/* The loop's own thread for ENV_QUEUE_WRITER. */
struct env_uv_writer {
    struct mailbox box;
    struct env_message stop; /* a message without `run` ends the thread */
    pthread_t thread;
};

struct env_uv {
    struct env env; /* first */
    uv_loop_t loop;
    uv_timer_t timer;       /* armed for timers_next() */
    uint64_t armed_ns;      /* the deadline it is armed for; UINT64_MAX: none */
    uv_prepare_t prepare;   /* the end of the turn */
    uv_idle_t idle;         /* active: the loop must not block */
    uv_async_t async;       /* wakes it from other threads */
    uv_signal_t signals[2]; /* SIGTERM, SIGINT; started by env_uv_on_terminate() */
    void (*terminate)(struct env *env, void *data, int signum);
    void *terminate_data;

    struct mailbox mailbox;
    _Atomic unsigned posting; /* threads inside post or stop: the loop is not freed under them */
    _Atomic bool stop;
    struct list deferred;
    bool again; /* env_wake() was called: one more round of hooks */
    bool dead;  /* being freed: no callback to an owner any more */

    struct env_uv_writer writer;
    struct env_uv_pool *pool; /* of the first loop; shared by all */
    bool pool_owned;
    size_t work_outstanding; /* started, `done` not yet run; loop's thread */

    struct list conns;     /* env_conn.link */
    struct list connects;  /* connection attempts */
    struct list listeners; /* env_listener.link */

    uint64_t random[4];

    pthread_t thread; /* of a loop made by loop_new */
    bool started;
    void (*entry)(struct env *loop, void *data);
    void *entry_data;
};

struct env_conn {
    struct env_uv *e;
    struct list link;
    uv_tcp_t tcp;
    const struct env_conn_callbacks *callbacks;
    void *data;
    int broken; /* a write that was cut short: every later one fails with this code */
    bool reading;
    bool in_alloc; /* inside the owner's alloc callback: libuv's handle must not change */
    bool ended; /* the end of reading was reported */
    bool closing;
    env_closed_cb closed;
    void *closed_data;
    struct env_uv_deferred closed_deferred;
    char peer[64]; /* "[IPv6]:port" fits */
};

static inline struct env_uv *env_uv_of(struct env *env)
{
    return container_of(env, struct env_uv, env);
}

static inline void env_uv_defer(struct env_uv *e, struct env_uv_deferred *deferred)
{
    list_push_back(&e->deferred, &deferred->link);
}

/* env_uv.c */
void env_uv_post(struct env *env, struct env_message *message);

/* env_uv_work.c */
int env_uv_writer_start(struct env_uv_writer *writer) MUST_USE;
void env_uv_writer_stop(struct env_uv_writer *writer); /* after its last work; joins */
int env_uv_pool_new(unsigned n_threads, struct env_uv_pool **out) MUST_USE;
void env_uv_pool_free(struct env_uv_pool *pool); /* joins; no work may be left */
void env_uv_work(struct env *env, enum env_queue queue, struct env_work *work);

/* env_uv_address.c: "host:port" in text and binary. */
int env_uv_address_split(const char *address, char host[ENV_ADDRESS_MAX], char port[6]) MUST_USE; /* ERR_INVALID */
/* ERR_NOT_FOUND: @host is a name, not numbers. */
int env_uv_address_numeric(const char *host, const char *port, struct sockaddr_storage *out) MUST_USE;
void env_uv_address_format(const struct sockaddr *sa, char *out, size_t out_size);
socklen_t env_uv_address_size(const struct sockaddr *sa);
int env_uv_err(int uv_error); /* libuv's negative errno -> err.h, in terms of connections */

/* env_uv_net.c */
struct env_conn *env_uv_conn_new(struct env_uv *e); /* not yet open; NULL: out of memory */
int env_uv_conn_adopt(struct env_uv *e, int fd, const struct sockaddr *peer, struct env_conn **out) MUST_USE;
void env_uv_conn_opened(struct env_conn *conn, const struct sockaddr *peer);
void env_uv_conn_read_start(struct env_conn *conn, const struct env_conn_callbacks *callbacks, void *data);
void env_uv_conn_read_stop(struct env_conn *conn);
void env_uv_conn_write(struct env_conn *conn, struct env_write *write, const struct iovec *iov, size_t n_iov);
const char *env_uv_conn_peer(struct env_conn *conn);
void env_uv_conn_close(struct env_conn *conn, env_closed_cb cb, void *data);

/* env_uv_connect.c */
int env_uv_connect(struct env *env, const char *address, env_connect_cb cb, void *data) MUST_USE;
void env_uv_connects_cancel(struct env_uv *e); /* the loop is being freed */
void env_uv_connects_free(struct env_uv *e);   /* after its handles are closed */

/* env_uv_listen.c */
int env_uv_listen(struct env *env, const char *address, env_accept_cb accept, void *data, struct env_listener **out,
                  char *errmsg) MUST_USE;
const char *env_uv_listener_address(struct env_listener *listener);
void env_uv_listener_close(struct env_listener *listener);
void env_uv_listeners_free(struct env_uv *e); /* after the loop's handles are closed */

/* env_uv_file.c, env_uv_dir.c */
int env_uv_file_open(struct env *env, const char *path, unsigned flags, struct env_file **out) MUST_USE;
void env_uv_file_close(struct env_file *file);
int env_uv_file_size(struct env_file *file, uint64_t *size) MUST_USE;
int env_uv_file_read(struct env_file *file, void *data, size_t size, uint64_t offset, size_t *n) MUST_USE;
int env_uv_file_write(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset,
                      enum env_sync sync) MUST_USE;
int env_uv_file_sync(struct env_file *file) MUST_USE;
int env_uv_file_allocate(struct env_file *file, uint64_t size, bool zero_fill) MUST_USE;
int env_uv_file_truncate(struct env_file *file, uint64_t size) MUST_USE;
int env_uv_dir_make(struct env *env, const char *path) MUST_USE;
int env_uv_dir_list(struct env *env, const char *path, void (*each)(void *data, const char *name), void *data) MUST_USE;
int env_uv_dir_sync(struct env *env, const char *path) MUST_USE;
int env_uv_path_rename(struct env *env, const char *from, const char *to) MUST_USE;
int env_uv_path_unlink(struct env *env, const char *path) MUST_USE;
int env_uv_disk_free(struct env *env, const char *path, uint64_t *bytes) MUST_USE;
int env_uv_lock_acquire(struct env *env, const char *path, struct env_lock **out) MUST_USE;
void env_uv_lock_release(struct env_lock *lock);

#endif
