/* What the shard log makes of a disk, beside what the disk gives to plain pwritev + fdatasync of the same size in the
 * same run, and how long one small write takes alone, on the loop and through the writer thread.
 *
 *   wal_bench <directory on the disk to measure> [seconds a case] */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/histogram.h"
#include "raft/env/env_uv.h"
#include "raft/wal/wal.h"

#define MIB ((uint64_t)1 << 20)
#define FILE_SIZE (64 * MIB)
#define ENTRY_SIZE 16384u
#define GROUPS 8
#define WRITES_MAX 256
#define KEEP_ENTRIES 2000 /* a group; older ones are trimmed, so that files recycle */

static double seconds = 2;

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void check(int rv, const char *what)
{
    if (rv != 0) {
        fprintf(stderr, "%s: %s\n", what, err_text(rv));
        exit(1);
    }
}

/* ---- the disk alone ---------------------------------------------------------------------------------------------- */

/* Writes of @size, each synced, over and over in a file that was written before. MB/s. */
static double raw(const char *dir, size_t size)
{
    char path[512];
    uint8_t *data = aligned_alloc(4096, size);
    uint64_t offset = 0;
    uint64_t bytes = 0;
    uint64_t begin;
    int fd;

    snprintf(path, sizeof(path), "%s/raw.tmp", dir);
    fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    check(fd < 0 ? ERR_IO : 0, path);
    memset(data, 'r', size);
    for (uint64_t at = 0; at < 2 * FILE_SIZE; at += size) {
        check(pwrite(fd, data, size, (off_t)at) == (ssize_t)size ? 0 : ERR_IO, "fill");
    }
    check(fsync(fd) == 0 ? 0 : ERR_IO, "fsync");
    begin = now_ns();
    while ((double)(now_ns() - begin) < seconds * 1e9) {
        struct iovec iov = {data, size};
        check(pwritev(fd, &iov, 1, (off_t)offset) == (ssize_t)size && fdatasync(fd) == 0 ? 0 : ERR_IO, "write");
        offset = (offset + size) % (2 * FILE_SIZE);
        bytes += size;
    }
    close(fd);
    unlink(path);
    free(data);
    return (double)bytes / ((double)(now_ns() - begin) / 1e9) / 1e6;
}

/* ---- the log ----------------------------------------------------------------------------------------------------- */

struct bench;

struct bench_write {
    struct wal_write write;
    struct bench *bench;
    struct entry *entries[64];
    uint64_t started_ns;
};

struct bench {
    struct env *env;
    struct wal *wal;
    struct buf_pool *pool;
    struct buf *payload;
    struct wal_group *groups[GROUPS];
    uint64_t next[GROUPS];
    unsigned group;
    uint32_t entry_size;
    uint32_t entries_a_write;
    unsigned outstanding;
    unsigned target;
    uint64_t end_ns;
    uint64_t bytes;
    uint64_t created;
    uint64_t bytes_max; /* stop here as well */
    bool keep;          /* nothing is trimmed */
    struct histogram latency;
    struct bench_write writes[WRITES_MAX];
    struct wal_stats stats;
};

static void submit(struct bench *b, struct bench_write *w)
{
    unsigned g = b->group++ % GROUPS;

    w->write.group = b->groups[g];
    w->write.entries = w->entries;
    w->write.n_entries = b->entries_a_write;
    for (uint32_t i = 0; i < b->entries_a_write; i++) {
        struct entry *e = entry_new(ENTRY_BATCH, b->payload, b->payload->data, b->entry_size);
        e->group = g + 1;
        e->index = b->next[g]++;
        e->term = 1;
        w->entries[i] = e;
    }
    w->started_ns = now_ns();
    wal_append(b->wal, &w->write);
    if (!b->keep && b->next[g] > KEEP_ENTRIES && b->next[g] % 256 == 0) {
        wal_group_trim(b->wal, b->groups[g], b->next[g] - KEEP_ENTRIES);
    }
    b->outstanding++;
}

static void closed(void *data)
{
    struct bench *b = data;
    env_loop_stop(b->env);
}

static void written(struct wal_write *write)
{
    struct bench_write *w = (struct bench_write *)(void *)write;
    struct bench *b = w->bench;
    uint64_t now = now_ns();

    histogram_add(&b->latency, now - w->started_ns);
    for (uint32_t i = 0; i < write->n_entries; i++) {
        b->bytes += w->entries[i]->length;
        entry_release(w->entries[i]);
    }
    b->outstanding--;
    if (now < b->end_ns && b->bytes < b->bytes_max) {
        submit(b, w);
    } else if (b->outstanding == 0) {
        wal_stats(b->wal, &b->stats);
        wal_close(b->wal, closed, b);
    }
}

static void group_created(struct wal_write *write)
{
    struct bench_write *w = (struct bench_write *)(void *)write;
    struct bench *b = w->bench;

    if (++b->created < GROUPS) {
        return;
    }
    b->end_ns = now_ns() + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < b->target; i++) {
        memset(&b->writes[i].write, 0, sizeof(b->writes[i].write));
        b->writes[i].write.done = written;
        submit(b, &b->writes[i]);
    }
}

static void remove_file(void *data, const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", (const char *)data, name);
    unlink(path);
}

/* How long an open takes that finds what is there. */
static void reopen(struct wal_params *params, struct bench *b)
{
    struct env_uv_params uv = {.logger = NULL};
    struct wal_recovery recovery;
    char errmsg[ERRMSG_SIZE];
    uint64_t begin;
    double took;

    check(env_uv_new(&uv, &b->env), "env");
    params->env = b->env;
    begin = now_ns();
    check(wal_open(params, &b->wal, &recovery, errmsg), errmsg);
    took = (double)(now_ns() - begin) / 1e9;
    printf("recovery of %llu MiB, %llu entries: %.3f s, %.0f MB/s\n", (unsigned long long)(recovery.bytes_read / MIB),
           (unsigned long long)recovery.entries, took, (double)recovery.bytes_read / took / 1e6);
    wal_close(b->wal, closed, b);
    env_uv_run(b->env);
    env_uv_free(b->env);
}

/* @writes of @n entries of @size each outstanding at a time. */
static void log_run(const char *dir, struct bench *b, unsigned writes, uint32_t n, uint32_t size, uint32_t inline_max,
                    uint64_t keep_bytes)
{
    struct env_uv_params uv = {.logger = NULL};
    struct wal_params params = {.dir = dir,
                                .file_size_bytes = FILE_SIZE,
                                .size_max_bytes = 4096 * MIB,
                                .reserve_bytes = 256 * MIB,
                                .cache_max_bytes = 16 * MIB,
                                .inline_max_bytes = inline_max};
    struct wal_recovery recovery;
    char errmsg[ERRMSG_SIZE];

    memset(b, 0, sizeof(*b));
    histogram_init(&b->latency);
    check(env_uv_new(&uv, &b->env), "env");
    b->pool = buf_pool_new(64 * MIB);
    b->payload = buf_new(b->pool, size);
    memset(b->payload->data, 'x', size);
    b->entry_size = size;
    b->entries_a_write = n;
    b->target = writes;
    b->keep = keep_bytes > 0;
    b->bytes_max = keep_bytes > 0 ? keep_bytes : UINT64_MAX;
    params.env = b->env;
    params.pool = b->pool;
    (void)env_dir_make(b->env, dir);
    check(wal_open(&params, &b->wal, &recovery, errmsg), errmsg);
    for (unsigned g = 0; g < GROUPS; g++) {
        b->writes[g].bench = b;
        b->next[g] = 1;
        b->writes[g].write.done = group_created;
        check(wal_group_create(b->wal, g + 1, 1, true, &b->writes[g].write, &b->groups[g]), "create");
    }
    for (unsigned i = 0; i < WRITES_MAX; i++) {
        b->writes[i].bench = b;
    }
    env_uv_run(b->env);
    if (b->keep) {
        env_uv_free(b->env);
        reopen(&params, b);
        check(env_uv_new(&uv, &b->env), "env");
    }
    check(env_dir_list(b->env, dir, remove_file, (void *)(uintptr_t)dir), "clean");
    env_uv_free(b->env);
    buf_release(b->payload);
    buf_pool_free(b->pool);
    rmdir(dir);
}

static void compare(const char *root, const char *dir, size_t turn)
{
    static struct bench b;
    double disk = raw(root, turn);
    double log;

    /* Two turns' worth outstanding: one is written while the next fills. */
    log_run(dir, &b, (unsigned)(2 * turn / ENTRY_SIZE), 1, ENTRY_SIZE, 0, 0);
    log = (double)b.bytes / seconds / 1e6;
    disk = (disk + raw(root, turn)) / 2; /* before and after: disks have moods */
    printf("turns of %4zu KiB: raw %7.1f MB/s, log %7.1f MB/s, ratio %.2f; %.0f KiB a flush, %.0f us a flush, %llu files "
           "recycled, p50 %.0f us, p99 %.0f us\n",
           turn >> 10, disk, log, log / disk, (double)b.stats.flush_bytes / (double)b.stats.flushes / 1024,
           (double)b.stats.flush_ns / (double)b.stats.flushes / 1000, (unsigned long long)b.stats.files_recycled,
           (double)histogram_percentile(&b.latency, 50) / 1000, (double)histogram_percentile(&b.latency, 99) / 1000);
}

static void alone(const char *dir, uint32_t size, uint32_t inline_max, const char *how)
{
    static struct bench b;

    log_run(dir, &b, 1, 1, size, inline_max, 0);
    printf("one write of %u bytes at a time, %s: p50 %.0f us, p99 %.0f us, %llu of %llu flushes inline\n", size, how,
           (double)histogram_percentile(&b.latency, 50) / 1000, (double)histogram_percentile(&b.latency, 99) / 1000,
           (unsigned long long)b.stats.inline_flushes, (unsigned long long)b.stats.flushes);
}

int main(int argc, char **argv)
{
    char dir[600];

    if (argc < 2) {
        fprintf(stderr, "usage: wal_bench <directory> [seconds]\n");
        return 2;
    }
    seconds = argc > 2 ? atof(argv[2]) : seconds;
    snprintf(dir, sizeof(dir), "%s/wal_bench", argv[1]);
    compare(argv[1], dir, 64 << 10);
    compare(argv[1], dir, 1 << 20);
    alone(dir, 1024, 0, "inline");
    alone(dir, 1024, 1, "writer thread");
    static struct bench b;
    seconds = 60;
    log_run(dir, &b, 64, 1, ENTRY_SIZE, 0, 1024 * MIB);
    log_run(dir, &b, 64, 4, 1024, 0, 256 * MIB);
    return 0;
}
