/* What this machine can do at best, the yardstick for every other benchmark: a message over loopback TCP and back, a hand-over to
 * another thread and back, a durable write. `limits_bench DIR` writes its file in DIR and prints one line a measurement. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/histogram.h"
#include "raft/env/env_uv.h"

#define PING_SIZE 64
#define ROOM 4096 /* more than a ping: libuv then reads once a turn */
#define PINGS 20000
#define HANDOVERS 20000
#define SYNCS 500
#define FILE_BYTES (64u * 1024 * 1024)

struct bench {
    struct env *env;
    struct histogram h;
    uint64_t begin_ns;
    unsigned left;
};

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "limits_bench: %s failed\n", what);
        exit(1);
    }
}

static void report(struct bench *b, const char *name)
{
    printf("%-28s n=%llu p50_us=%.1f p99_us=%.1f max_us=%.1f\n", name, (unsigned long long)b->h.count,
           (double)histogram_percentile(&b->h, 50) / 1e3, (double)histogram_percentile(&b->h, 99) / 1e3,
           (double)b->h.max / 1e3);
    fflush(stdout);
    histogram_init(&b->h);
}

static void begin(struct bench *b)
{
    b->begin_ns = env_now_ns(b->env);
}

static void end(struct bench *b)
{
    histogram_add(&b->h, env_now_ns(b->env) - b->begin_ns);
}

/* ---- loopback, blocking sockets: the kernel's own limit ---- */

static void *answer_pings(void *arg)
{
    int fd = *(int *)arg;
    char data[PING_SIZE];
    while (recv(fd, data, sizeof data, MSG_WAITALL) == PING_SIZE) {
        if (send(fd, data, sizeof data, MSG_NOSIGNAL) != PING_SIZE) {
            break;
        }
    }
    return NULL;
}

static void connect_pair(int fds[2])
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t size = sizeof sa;
    int on = 1;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&sa, size) == 0 && listen(listener, 1) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&sa, &size) == 0, "getsockname");
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fds[0] >= 0 && connect(fds[0], (struct sockaddr *)&sa, size) == 0, "connect");
    fds[1] = accept(listener, NULL, NULL);
    check(fds[1] >= 0, "accept");
    close(listener);
    for (int i = 0; i < 2; i++) {
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
}

static void bench_loopback(struct bench *b)
{
    int fds[2];
    char data[PING_SIZE] = "";
    pthread_t thread;
    connect_pair(fds);
    check(pthread_create(&thread, NULL, answer_pings, &fds[1]) == 0, "thread");
    for (int i = 0; i < PINGS; i++) {
        begin(b);
        check(send(fds[0], data, sizeof data, 0) == PING_SIZE, "send");
        check(recv(fds[0], data, sizeof data, MSG_WAITALL) == PING_SIZE, "recv");
        end(b);
    }
    close(fds[0]);
    pthread_join(thread, NULL);
    close(fds[1]);
    report(b, "loopback_ping_pong_64B");
}

/* ---- the same over two loops of env ---- */

struct pinger {
    struct bench *bench;
    struct env *env;
    struct env_conn *conn;
    struct env_write write;
    bool writing;
    bool asks; /* the side that measures */
    uint8_t in[ROOM];
    uint8_t out[PING_SIZE];
    size_t filled;
    char address[ENV_ADDRESS_MAX];
    struct env *first;
    struct env_message listening;
};

static void pinger_send(struct pinger *p)
{
    struct iovec iov = {p->out, PING_SIZE};
    check(!p->writing, "one write at a time");
    p->writing = true;
    if (p->asks) {
        begin(p->bench);
    }
    env_conn_write(p->env, p->conn, &p->write, &iov, 1);
}

static void pinger_done(struct env_write *write, int status)
{
    struct pinger *p = container_of(write, struct pinger, write);
    check(status == 0, "write");
    p->writing = false;
}

static void pinger_alloc(struct env_conn *conn, void *data, uint8_t **base, size_t *len)
{
    struct pinger *p = data;
    *base = p->in + p->filled;
    *len = ROOM - p->filled;
}

static void pinger_read(struct env_conn *conn, void *data, ssize_t n)
{
    struct pinger *p = data;
    if (n <= 0) {
        env_conn_close(p->env, conn, NULL, NULL);
        return;
    }
    p->filled += (size_t)n;
    if (p->filled < PING_SIZE) {
        return;
    }
    p->filled = 0;
    if (p->asks) {
        end(p->bench);
        if (--p->bench->left == 0) {
            env_conn_close(p->env, conn, NULL, NULL);
            env_loop_stop(p->env);
            return;
        }
    }
    pinger_send(p);
}

static const struct env_conn_callbacks pinger_callbacks = {pinger_alloc, pinger_read};

static void pinger_open(struct pinger *p, struct env_conn *conn)
{
    p->conn = conn;
    p->write.done = pinger_done;
    env_conn_read_start(p->env, conn, &pinger_callbacks, p);
}

static void pinger_accepted(struct env_listener *listener, void *data, struct env_conn *conn)
{
    pinger_open(data, conn);
}

static void pinger_connected(struct env *env, void *data, int status, struct env_conn *conn)
{
    struct pinger *p = data;
    check(status == 0, "connect");
    pinger_open(p, conn);
    pinger_send(p);
}

static void pinger_listen(struct env *loop, void *data)
{
    struct pinger *p = data;
    struct env_listener *listener;
    char errmsg[ERRMSG_SIZE];
    check(env_listen(loop, "127.0.0.1:0", pinger_accepted, p, &listener, errmsg) == 0, "listen");
    snprintf(p->address, sizeof p->address, "%s", env_listener_address(loop, listener));
    env_post(p->first, &p->listening);
}

static void pinger_listening(struct env_message *message)
{
    struct pinger *server = container_of(message, struct pinger, listening);
    struct pinger *client = server + 1;
    check(env_connect(client->env, server->address, pinger_connected, client) == 0, "connect");
}

static void bench_env_loopback(struct bench *b)
{
    struct pinger *pair = calloc(2, sizeof *pair);
    struct env *loop;
    check(pair != NULL && env_loop_new(b->env, &loop) == 0, "loop");
    pair[0] = (struct pinger){.bench = b, .env = loop, .first = b->env, .listening.run = pinger_listening};
    pair[1] = (struct pinger){.bench = b, .env = b->env, .asks = true};
    b->left = PINGS;
    check(env_loop_start(loop, pinger_listen, &pair[0]) == 0, "thread");
    env_uv_run(b->env);
    env_loop_free(loop);
    report(b, "env_ping_pong_64B");
    free(pair);
}

/* ---- hand-over to a worker and back ---- */

struct handover {
    struct env_work work;
    struct bench *bench;
    enum env_queue queue;
};

static void handover_run(struct env_work *work)
{
}

static void handover_done(struct env_work *work)
{
    struct handover *h = container_of(work, struct handover, work);
    end(h->bench);
    if (--h->bench->left == 0) {
        env_loop_stop(h->bench->env);
        return;
    }
    begin(h->bench);
    env_work(h->bench->env, h->queue, work);
}

static void bench_handover(struct bench *b, enum env_queue queue, const char *name)
{
    struct handover h = {.work = {.run = handover_run, .done = handover_done}, .bench = b, .queue = queue};
    b->left = HANDOVERS;
    begin(b);
    env_work(b->env, queue, &h.work);
    env_uv_run(b->env);
    report(b, name);
}

/* ---- durable writes ---- */

struct durable {
    struct env_work work;
    struct bench *bench;
    struct env_file *file;
    struct iovec iov;
    uint64_t offset;
    bool fdatasync; /* write, then sync, instead of one call for both */
};

static void durable_write(struct durable *d)
{
    struct env *env = d->bench->env;
    int rv;
    if (d->fdatasync) {
        rv = env_file_write(env, d->file, &d->iov, 1, d->offset, ENV_SYNC_NONE);
        check(rv == 0, "write");
        rv = env_file_sync(env, d->file);
    } else {
        rv = env_file_write(env, d->file, &d->iov, 1, d->offset, ENV_SYNC_DATA);
    }
    check(rv == 0, "durable write");
    d->offset += d->iov.iov_len;
}

static void durable_run(struct env_work *work)
{
    durable_write(container_of(work, struct durable, work));
}

static void durable_done(struct env_work *work)
{
    struct durable *d = container_of(work, struct durable, work);
    end(d->bench);
    if (--d->bench->left == 0) {
        env_loop_stop(d->bench->env);
        return;
    }
    begin(d->bench);
    env_work(d->bench->env, ENV_QUEUE_WRITER, work);
}

static void bench_inline(struct bench *b, struct durable d, const char *name)
{
    for (int i = 0; i < SYNCS; i++) {
        begin(b);
        durable_write(&d);
        end(b);
    }
    report(b, name);
}

static void bench_durable(struct bench *b, const char *dir)
{
    char path[ENV_PATH_MAX];
    struct durable d = {.work = {.run = durable_run, .done = durable_done}, .bench = b};
    static const struct {
        size_t size;
        const char *append, *recycled, *sync, *writer;
    } sizes[] = {
        {4096, "dsync_4KiB_append", "dsync_4KiB_recycled", "write+fdatasync_4KiB_recycled", "writer_dsync_4KiB_recycled"},
        {65536, "dsync_64KiB_append", "dsync_64KiB_recycled", "write+fdatasync_64KiB_recyc", "writer_dsync_64KiB_recycled"},
    };
    snprintf(path, sizeof path, "%s/limits_bench.tmp", dir);
    d.iov.iov_base = malloc(65536);
    check(d.iov.iov_base != NULL, "malloc");
    memset(d.iov.iov_base, 'x', 65536);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check(env_file_open(b->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &d.file) == 0, path);
        d.iov.iov_len = sizes[i].size;
        bench_inline(b, d, sizes[i].append);
        check(env_file_allocate(b->env, d.file, FILE_BYTES, true) == 0, "zero-fill");
        check(env_file_sync(b->env, d.file) == 0, "sync");
        bench_inline(b, d, sizes[i].recycled);
        d.fdatasync = true;
        bench_inline(b, d, sizes[i].sync);
        d.fdatasync = false;
        b->left = SYNCS;
        d.offset = 0;
        begin(b);
        env_work(b->env, ENV_QUEUE_WRITER, &d.work);
        env_uv_run(b->env);
        report(b, sizes[i].writer);
        d.offset = 0;
        env_file_close(b->env, d.file);
    }
    free(d.iov.iov_base);
    check(env_path_unlink(b->env, path) == 0, "unlink");
}

int main(int argc, char **argv)
{
    struct logger logger;
    struct bench b;
    if (argc != 2) {
        fprintf(stderr, "usage: limits_bench DIR   (a directory on the disk to measure)\n");
        return 2;
    }
    logger_init_fd(&logger, LOG_INFO, STDERR_FILENO);
    struct env_uv_params params = {.logger = &logger};
    check(env_uv_new(&params, &b.env) == 0, "env");
    histogram_init(&b.h);
    bench_loopback(&b);
    bench_env_loopback(&b);
    bench_handover(&b, ENV_QUEUE_WRITER, "writer_hand_over");
    bench_handover(&b, ENV_QUEUE_POOL, "pool_hand_over");
    bench_durable(&b, argv[1]);
    env_uv_free(b.env);
    return 0;
}
