/* On the real environment: files, threads and a loop of the kernel's, and memory that runs out while the log opens. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raft/env/env_uv.h"
#include "raft/wal/wal.h"

#define ENTRIES 300
#define ENTRY_SIZE 3000

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static long fail_at = -1; /* the how-manieth allocation from now on fails; -1: none */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static bool fails(void)
{
    return fail_at >= 0 && fail_at-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

/* ---- a log on a temporary directory ------------------------------------------------------------------------------ */

struct real {
    char dir[64];
    struct env *env;
    struct buf_pool *pool;
    struct wal *wal;
    struct wal_params params;
    struct wal_recovery recovery;
    char errmsg[ERRMSG_SIZE];
    struct wal_write write;
    struct entry *entries[ENTRIES];
    struct wal_read read;
    struct timer warm;
    uint64_t next;
    int status;
};

static void real_init(struct real *r)
{
    struct env_uv_params uv = {.logger = NULL};

    assert_int_equal(env_uv_new(&uv, &r->env), 0);
    /* The heap of timers ends the program when it cannot grow; it grows here. */
    timer_init(&r->warm, NULL);
    env_timer_start(r->env, &r->warm, 1000000);
    env_timer_stop(r->env, &r->warm);
    r->pool = buf_pool_new(4u << 20);
    r->params = (struct wal_params){.env = r->env,
                                    .dir = r->dir,
                                    .pool = r->pool,
                                    .file_size_bytes = 256u << 10,
                                    .size_max_bytes = 64u << 20,
                                    .reserve_bytes = 1u << 20,
                                    .cache_max_bytes = 20000};
}

static void real_close(struct real *r)
{
    env_uv_free(r->env);
    buf_pool_free(r->pool);
}

static void closed(void *data)
{
    struct real *r = data;
    env_loop_stop(r->env);
}

static void appended(struct wal_write *write)
{
    struct real *r = container_of(write, struct real, write);

    for (int i = 0; i < ENTRIES; i++) {
        entry_release(r->entries[i]);
    }
    wal_close(r->wal, closed, r);
}

static void created(struct wal_write *write)
{
    struct real *r = container_of(write, struct real, write);

    for (int i = 0; i < ENTRIES; i++) {
        struct buf *buf = buf_new(r->pool, ENTRY_SIZE);
        memset(buf->data, i, ENTRY_SIZE);
        r->entries[i] = entry_new(ENTRY_BATCH, buf, buf->data, i % 2 ? ENTRY_SIZE : 100);
        r->entries[i]->group = 5;
        r->entries[i]->index = 1 + (uint64_t)i;
        r->entries[i]->term = 2;
        buf_release(buf);
    }
    r->write.has_hard_state = false;
    r->write.entries = r->entries;
    r->write.n_entries = ENTRIES;
    r->write.done = appended;
    wal_append(r->wal, &r->write);
}

static void make_log(struct real *r)
{
    struct wal_group *g;

    strcpy(r->dir, "/tmp/test_wal_XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    real_init(r);
    assert_int_equal(wal_open(&r->params, &r->wal, &r->recovery, r->errmsg), 0);
    memset(&r->write, 0, sizeof(r->write));
    r->write.has_hard_state = true;
    r->write.term = 2;
    r->write.done = created;
    assert_int_equal(wal_group_create(r->wal, 5, 50, true, &r->write, &g), 0);
    env_uv_run(r->env);
    real_close(r);
}

static void remove_name(void *data, const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", (const char *)data, name);
    unlink(path);
}

static void remove_log(struct real *r)
{
    real_init(r);
    assert_int_equal(env_dir_list(r->env, r->dir, remove_name, r->dir), 0);
    real_close(r);
    assert_int_equal(rmdir(r->dir), 0);
}

static void read_on(struct real *r);

static void take(struct real *r)
{
    assert_int_equal(r->status, 0);
    for (uint32_t i = 0; i < r->read.n; i++, r->next++) {
        const struct entry *e = r->read.entries[i];
        assert_int_equal(e->index, r->next);
        assert_int_equal(e->length, (r->next - 1) % 2 ? ENTRY_SIZE : 100);
        assert_int_equal(e->data[99], (uint8_t)(r->next - 1));
        entry_release(r->read.entries[i]);
    }
    free(r->read.entries);
}

static void read_done(struct wal_read *read, int status)
{
    struct real *r = container_of(read, struct real, read);
    r->status = status;
    take(r);
    read_on(r);
}

static void read_on(struct real *r)
{
    while (r->next <= ENTRIES) {
        memset(&r->read, 0, sizeof(r->read));
        r->read = (struct wal_read){.group = 5, .first = r->next, .n_max = 50, .bytes_max = 40000, .done = read_done};
        r->status = 0;
        if (!wal_read(r->wal, &r->read)) {
            return;
        }
        take(r);
    }
    wal_close(r->wal, closed, r);
}

static void the_real_disk_keeps_it(void **state)
{
    struct real *r = calloc(1, sizeof(*r));
    struct wal_group_info info;

    make_log(r);
    for (int i = 0; i < 3; i++) {
        real_init(r);
        assert_int_equal(wal_open(&r->params, &r->wal, &r->recovery, r->errmsg), 0);
        wal_group_info(wal_group_find(r->wal, 5), &info);
        assert_int_equal(info.last_index, ENTRIES);
        assert_int_equal(info.term, 2);
        assert_int_equal(r->recovery.torn_bytes, 0);
        r->next = 1;
        read_on(r);
        env_uv_run(r->env);
        real_close(r);
    }
    remove_log(r);
    free(r);
}

static void opening_without_memory_is_an_error_and_changes_nothing(void **state)
{
    struct real *r = calloc(1, sizeof(*r));
    struct wal_group_info info;
    unsigned n_failed = 0;

    make_log(r);
    for (long n = 0;; n++) {
        int rv;
        real_init(r);
        fail_at = n;
        rv = wal_open(&r->params, &r->wal, &r->recovery, r->errmsg);
        bool through = fail_at >= 0;
        fail_at = -1;
        if (rv == 0) {
            wal_group_info(wal_group_find(r->wal, 5), &info);
            assert_int_equal(info.last_index, ENTRIES);
            assert_false(info.damaged);
            wal_close(r->wal, closed, r);
            env_uv_run(r->env);
        } else {
            assert_int_equal(rv, ERR_NOMEM);
            assert_true(strlen(r->errmsg) > 0);
            n_failed++;
        }
        real_close(r);
        if (through) {
            break;
        }
    }
    assert_true(n_failed > 20);
    remove_log(r);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_real_disk_keeps_it),
        cmocka_unit_test(opening_without_memory_is_an_error_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
