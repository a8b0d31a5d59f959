/* The disk lies as disks do, and no worse: what was synced stays, the rest may go, and over seeds all of it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define SEEDS 80
#define PAGES 8
#define SIZE (PAGES * 4096)
#define PATH "/data/log/a"

struct run {
    struct sim_world *world;
    struct sim_node *node;
    uint8_t bytes[SIZE];
    size_t n;
};

static void run_init(struct run *run, uint64_t seed)
{
    run->world = sim_world_new(seed, NULL);
    run->node = sim_node_new(run->world, "n1");
    sim_node_make_dirs(run->node, "/data/log");
}

static void boot(struct run *run, void (*start)(struct env *env, void *data))
{
    struct sim_program program = {.start = start, .data = run};
    sim_node_start(run->node, &program);
    sim_world_run_for(run->world, SIM_MS);
}

/* Cut the power and take what is left of the file. */
static void crash(struct run *run)
{
    sim_node_kill(run->node, SIM_END_POWER);
    run->n = sim_node_file_peek(run->node, PATH, 0, run->bytes, SIZE);
}

static struct env_file *open_file(struct env *env, const char *path)
{
    struct env_file *file;
    assert_int_equal(env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), 0);
    return file;
}

static void fill(struct env *env, struct env_file *file, int value, enum env_sync sync)
{
    uint8_t *bytes = malloc(SIZE);
    struct iovec iov[2] = {{bytes, 5000}, {bytes + 5000, SIZE - 5000}};

    memset(bytes, value, SIZE);
    assert_int_equal(env_file_write(env, file, iov, 2, 0, sync), 0);
    free(bytes);
}

static void write_old_then_new(struct env *env, void *data)
{
    struct env_file *file = open_file(env, PATH);
    fill(env, file, 'o', ENV_SYNC_DATA);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    fill(env, file, 'n', ENV_SYNC_NONE);
    env_file_close(env, file);
}

static void unsynced_write_is_kept_lost_or_torn(void **state)
{
    unsigned kept = 0, lost = 0, mixed = 0, torn_page = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        unsigned n_new = 0;
        run_init(&run, seed);
        boot(&run, write_old_then_new);
        crash(&run);
        assert_int_equal(run.n, SIZE);
        for (size_t s = 0; s < SIZE; s += 512) {
            for (size_t i = 1; i < 512; i++) {
                assert_int_equal(run.bytes[s], run.bytes[s + i]); /* a sector is never torn */
            }
            assert_true(run.bytes[s] == 'n' || run.bytes[s] == 'o');
            n_new += run.bytes[s] == 'n';
            torn_page += s % 4096 != 0 && run.bytes[s] != run.bytes[s - 512];
        }
        kept += n_new == SIZE / 512;
        lost += n_new == 0;
        mixed += n_new > 0 && n_new < SIZE / 512;
        sim_world_free(run.world);
    }
    assert_true(kept > 0);
    assert_true(lost > 0);
    assert_true(mixed > 0);
    assert_true(torn_page > 0);
}

static void write_then_sync(struct env *env, void *data)
{
    struct env_file *file = open_file(env, PATH);
    fill(env, file, 'o', ENV_SYNC_NONE);
    fill(env, file, 'n', ENV_SYNC_NONE);
    assert_int_equal(env_file_sync(env, file), 0);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
}

static void write_durably(struct env *env, void *data)
{
    struct env_file *file = open_file(env, PATH);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    fill(env, file, 'n', ENV_SYNC_DATA);
}

static void synced_write_is_never_lost(void **state)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        run_init(&run, seed);
        boot(&run, seed & 1 ? write_then_sync : write_durably);
        crash(&run);
        assert_int_equal(run.n, SIZE);
        for (size_t i = 0; i < SIZE; i++) {
            assert_int_equal(run.bytes[i], 'n');
        }
        sim_world_free(run.world);
    }
}

static void killed_program_leaves_the_page_cache(void **state)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct run run;
        run_init(&run, seed);
        boot(&run, write_old_then_new);
        sim_node_kill(run.node, SIM_END_KILL);
        run.n = sim_node_file_peek(run.node, PATH, 0, run.bytes, SIZE);
        assert_int_equal(run.n, SIZE);
        assert_int_equal(run.bytes[0], 'n');
        assert_int_equal(run.bytes[SIZE - 1], 'n');
        sim_world_free(run.world);
    }
}

static void grow_unsynced(struct env *env, void *data)
{
    struct env_file *file = open_file(env, PATH);
    struct iovec iov = {(void *)(uintptr_t) "0123456789", 10};

    fill(env, file, 'o', ENV_SYNC_DATA);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    assert_int_equal(env_file_write(env, file, &iov, 1, SIZE + 5000, ENV_SYNC_NONE), 0);
}

static void growth_is_kept_or_lost_and_reads_as_zeros(void **state)
{
    unsigned grown = 0, same = 0, between = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        uint8_t gap[5000];
        run_init(&run, seed);
        boot(&run, grow_unsynced);
        crash(&run);
        uint64_t size = sim_node_file_size(run.node, PATH);
        assert_true(size >= SIZE && size <= SIZE + 5010);
        grown += size == SIZE + 5010;
        same += size == SIZE;
        between += size > SIZE && size < SIZE + 5010;
        size_t n = sim_node_file_peek(run.node, PATH, SIZE, gap, sizeof(gap));
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(gap[i], 0);
        }
        assert_int_equal(run.bytes[SIZE - 1], 'o');
        sim_world_free(run.world);
    }
    assert_true(grown > 0);
    assert_true(same > 0);
    assert_true(between > 0);
}

static void truncate_unsynced(struct env *env, void *data)
{
    struct env_file *file = open_file(env, PATH);
    fill(env, file, 'o', ENV_SYNC_DATA);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    assert_int_equal(env_file_truncate(env, file, 6000), 0);
}

static void truncation_happens_whole_or_not_at_all(void **state)
{
    unsigned cut = 0, not = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        run_init(&run, seed);
        boot(&run, truncate_unsynced);
        crash(&run);
        assert_true(run.n == SIZE || run.n == 6000);
        for (size_t i = 0; i < run.n; i++) {
            assert_int_equal(run.bytes[i], 'o');
        }
        cut += run.n == 6000;
        not += run.n == SIZE;
        sim_world_free(run.world);
    }
    assert_true(cut > 0);
    assert_true(not > 0);
}

static void rename_over(struct env *env, bool dir_sync)
{
    struct env_file *file = open_file(env, PATH);
    fill(env, file, 'o', ENV_SYNC_DATA);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    file = open_file(env, "/data/log/tmp");
    fill(env, file, 'n', ENV_SYNC_DATA);
    assert_int_equal(env_path_rename(env, "/data/log/tmp", PATH), 0);
    if (dir_sync) {
        assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    }
}

static void rename_only(struct env *env, void *data)
{
    rename_over(env, false);
}

static void rename_and_sync(struct env *env, void *data)
{
    rename_over(env, true);
}

static void rename_without_dir_sync_can_vanish(void **state)
{
    unsigned n_old = 0, n_new = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        run_init(&run, seed);
        boot(&run, rename_only);
        crash(&run);
        assert_int_equal(run.n, SIZE);
        n_old += run.bytes[0] == 'o';
        n_new += run.bytes[0] == 'n';
        assert_int_equal(run.bytes[0], run.bytes[SIZE - 1]); /* the one or the other, never a mixture */
        sim_world_free(run.world);
    }
    assert_true(n_old > 0);
    assert_true(n_new > 0);
    assert_int_equal(n_old + n_new, SEEDS);
}

static void rename_with_dir_sync_stays(void **state)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        run_init(&run, seed);
        boot(&run, rename_and_sync);
        crash(&run);
        assert_int_equal(run.n, SIZE);
        assert_int_equal(run.bytes[0], 'n');
        sim_world_free(run.world);
    }
}

static void create_and_unlink(struct env *env, void *data)
{
    struct env_file *file = open_file(env, PATH);
    fill(env, file, 'o', ENV_SYNC_DATA);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    assert_int_equal(env_path_unlink(env, PATH), 0);
    assert_int_equal(env_path_unlink(env, PATH), ERR_NOT_FOUND);
    fill(env, file, 'x', ENV_SYNC_DATA); /* still open: it goes on living without a name */
    file = open_file(env, "/data/log/b");
    fill(env, file, 'b', ENV_SYNC_DATA);
}

static void names_without_dir_sync_come_and_go_in_order(void **state)
{
    unsigned seen[4] = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        run_init(&run, seed);
        boot(&run, create_and_unlink);
        crash(&run);
        bool a = sim_node_file_size(run.node, PATH) != UINT64_MAX;
        bool b = sim_node_file_size(run.node, "/data/log/b") != UINT64_MAX;
        seen[a * 2 + b]++;
        sim_world_free(run.world);
    }
    assert_int_equal(seen[3], 0); /* one directory's changes become durable in order: a went before b came */
    assert_true(seen[0] > 0);
    assert_true(seen[1] > 0);
    assert_true(seen[2] > 0);
}

static void fill_up(struct env *env, void *data)
{
    struct run *run = data;
    uint8_t page[4096] = {1};
    struct iovec iov = {page, sizeof(page)};
    struct env_file *file = open_file(env, PATH);
    uint64_t at = 0;
    uint64_t left;
    int rv;

    sim_node_set_disk_size(run->node, 10 * 4096);
    while ((rv = env_file_write(env, file, &iov, 1, at, ENV_SYNC_NONE)) == 0) {
        at += sizeof(page);
    }
    assert_int_equal(rv, ERR_NO_SPACE);
    assert_int_equal(at, 10 * 4096);
    assert_int_equal(env_disk_free(env, "/data", &left), 0);
    assert_int_equal(left, 0);
    assert_int_equal(env_file_write(env, file, &iov, 1, 0, ENV_SYNC_NONE), 0); /* in place needs no space */
    assert_int_equal(env_path_unlink(env, PATH), 0);
    assert_int_equal(env_disk_free(env, "/data", &left), 0);
    assert_int_equal(left, 0); /* still open */
    env_file_close(env, file);
    assert_int_equal(env_disk_free(env, "/data", &left), 0);
    assert_int_equal(left, 10 * 4096);
}

static void full_disk_refuses_and_unlink_gives_space_back(void **state)
{
    struct run run;
    run_init(&run, 1);
    boot(&run, fill_up);
    assert_true(sim_node_running(run.node));
    sim_world_free(run.world);
}

static void count_name(void *data, const char *name)
{
    (*(unsigned *)data)++;
}

static void errors(struct env *env, void *data)
{
    struct env_file *file;
    struct env_lock *lock;
    struct env_lock *second;
    unsigned names = 0;
    static uint8_t page[4096] __attribute__((aligned(4096)));
    struct iovec iov = {page + 1, 4095};
    size_t n;

    assert_int_equal(env_file_open(env, "/data/none", ENV_OPEN_READ, &file), ERR_NOT_FOUND);
    assert_int_equal(env_file_open(env, "/none/a", ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), ERR_NOT_FOUND);
    assert_int_equal(env_dir_make(env, "/data/d"), 0);
    assert_int_equal(env_dir_make(env, "/data/d"), ERR_EXISTS);
    assert_int_equal(env_file_open(env, "data/d/f", ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), 0);
    assert_int_equal(env_file_read(env, file, page, 100, 0, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(env_file_open(env, "/data/d/f", ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, &file),
                     ERR_EXISTS);
    assert_int_equal(env_dir_list(env, "/data/d", count_name, &names), 0);
    assert_int_equal(names, 1);
    assert_int_equal(env_file_open(env, "/data/d/f", ENV_OPEN_WRITE | ENV_OPEN_DIRECT, &file), 0);
    assert_int_equal(env_file_write(env, file, &iov, 1, 0, ENV_SYNC_NONE), ERR_INVALID);
    assert_int_equal(env_lock_acquire(env, "/data/lock", &lock), 0);
    assert_int_equal(env_lock_acquire(env, "/data/lock", &second), ERR_BUSY);
    env_lock_release(env, lock);
    assert_int_equal(env_lock_acquire(env, "/data/lock", &lock), 0);
}

static void lock_again(struct env *env, void *data)
{
    struct env_lock *lock;
    assert_int_equal(env_lock_acquire(env, "/data/lock", &lock), 0);
}

static void calls_answer_with_the_table_s_codes(void **state)
{
    struct run run;
    run_init(&run, 1);
    boot(&run, errors);
    sim_node_kill(run.node, SIM_END_KILL); /* the lock goes with its program */
    boot(&run, lock_again);
    assert_true(sim_node_running(run.node));
    sim_world_free(run.world);
}

static void sync_fails(struct env *env, void *data)
{
    struct run *run = data;
    struct env_file *file = open_file(env, PATH);
    static uint8_t page[4096] __attribute__((aligned(4096)));
    size_t n;

    fill(env, file, 'o', ENV_SYNC_DATA);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    fill(env, file, 'n', ENV_SYNC_NONE);
    sim_node_disk_knobs(run->node)->sync_error_ppm = 1000000;
    assert_int_equal(env_file_sync(env, file), ERR_IO);
    sim_node_disk_knobs(run->node)->sync_error_ppm = 0;
    assert_int_equal(env_file_sync(env, file), ERR_IO); /* by this handle, for good */
    env_file_close(env, file);
    file = open_file(env, PATH);
    assert_int_equal(env_file_sync(env, file), 0); /* another handle is told nothing */
    assert_int_equal(env_file_read(env, file, page, 4096, 0, &n), 0);
    assert_int_equal(page[0], 'n'); /* and the cache shows what the platter may not have */
}

static void failed_sync_loses_what_the_cache_still_shows(void **state)
{
    unsigned lost = 0, kept = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        run_init(&run, seed);
        boot(&run, sync_fails);
        crash(&run);
        for (size_t p = 0; p < PAGES; p++) {
            lost += run.bytes[p * 4096] == 'o';
            kept += run.bytes[p * 4096] == 'n';
        }
        sim_world_free(run.world);
    }
    assert_true(lost > 0);
    assert_true(kept > 0);
}

/* A journal's sequence: if step n is on the platter, step n - 1 is. */
static void sequence_done(struct env_work *work)
{
}

struct sequence {
    struct env_work work;
    struct env *env;
};

static void sequence_work(struct env_work *work)
{
    struct env *env = ((struct sequence *)(void *)work)->env;
    struct env_file *file = open_file(env, "/data/log/new");
    fill(env, file, 'n', ENV_SYNC_NONE);
    assert_int_equal(env_file_sync(env, file), 0);
    env_file_close(env, file);
    assert_int_equal(env_path_rename(env, "/data/log/new", PATH), 0);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
    file = open_file(env, "/data/log/after");
    fill(env, file, 'z', ENV_SYNC_DATA);
    assert_int_equal(env_dir_sync(env, "/data/log"), 0);
}

static struct sequence *sequence_of(struct env *env)
{
    struct sequence *s = calloc(1, sizeof(*s));
    s->env = env;
    s->work.run = sequence_work;
    s->work.done = sequence_done;
    return s;
}

static void start_sequence(struct env *env, void *data)
{
    struct sequence **s = data;
    *s = sequence_of(env);
    env_work(env, ENV_QUEUE_WRITER, &(*s)->work);
}

static void power_cut_in_the_middle_of_a_worker_s_sequence(void **state)
{
    unsigned none = 0, first = 0, both = 0;

    for (uint64_t seed = 0; seed < 400; seed++) {
        struct run run;
        struct sequence *s = NULL;
        struct sim_program program = {.start = start_sequence, .data = &s};
        run_init(&run, seed);
        sim_node_start(run.node, &program);
        sim_world_run_until(run.world, seed % 40 * SIM_US);
        crash(&run);
        bool after = sim_node_file_size(run.node, "/data/log/after") != UINT64_MAX;
        if (run.n == 0) {
            assert_false(after);
            assert_true(sim_node_file_size(run.node, PATH) == UINT64_MAX);
            none++;
        } else {
            assert_int_equal(run.n, SIZE); /* renamed only after its sync: whole or not there */
            assert_int_equal(run.bytes[0], 'n');
            assert_int_equal(run.bytes[SIZE - 1], 'n');
            first += !after;
            both += after;
        }
        free(s);
        sim_world_free(run.world);
    }
    assert_true(none > 0);
    assert_true(first > 0);
    assert_true(both > 0);
}

static void kill_at_each_operation(void **state)
{
    for (uint64_t op = 0; op < 16; op++) {
        struct run run;
        run_init(&run, op);
        struct sim_program program = {.start = rename_and_sync, .data = &run};
        sim_node_start(run.node, &program);
        sim_node_kill_at_op(run.node, op, SIM_END_POWER);
        sim_world_run_for(run.world, SIM_MS);
        assert_int_equal(sim_node_running(run.node), op >= 7); /* open write sync open write rename sync */
        run.n = sim_node_file_peek(run.node, PATH, 0, run.bytes, SIZE);
        if (op > 2) {
            assert_int_equal(run.n, SIZE);
            assert_int_equal(run.bytes[0], run.bytes[SIZE - 1]);
        }
        sim_world_free(run.world);
    }
}

static void flipped_bit_stays_flipped(void **state)
{
    struct run run;
    run_init(&run, 3);
    boot(&run, write_then_sync);
    assert_true(sim_node_flip_bit(run.node, PATH, 4097, 0));
    assert_false(sim_node_flip_bit(run.node, PATH, SIZE, 0));
    crash(&run);
    assert_int_equal(run.bytes[4096], 'n');
    assert_int_equal(run.bytes[4097], 'n' ^ 1);
    sim_world_free(run.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsynced_write_is_kept_lost_or_torn),
        cmocka_unit_test(synced_write_is_never_lost),
        cmocka_unit_test(killed_program_leaves_the_page_cache),
        cmocka_unit_test(growth_is_kept_or_lost_and_reads_as_zeros),
        cmocka_unit_test(truncation_happens_whole_or_not_at_all),
        cmocka_unit_test(rename_without_dir_sync_can_vanish),
        cmocka_unit_test(rename_with_dir_sync_stays),
        cmocka_unit_test(names_without_dir_sync_come_and_go_in_order),
        cmocka_unit_test(full_disk_refuses_and_unlink_gives_space_back),
        cmocka_unit_test(calls_answer_with_the_table_s_codes),
        cmocka_unit_test(failed_sync_loses_what_the_cache_still_shows),
        cmocka_unit_test(power_cut_in_the_middle_of_a_worker_s_sequence),
        cmocka_unit_test(kill_at_each_operation),
        cmocka_unit_test(flipped_bit_stays_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
