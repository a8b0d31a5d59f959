/* Disks that lie about what is durable, and the mercy that keeps such a lie from being one that no log can find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define SEEDS 60
#define PAGE 4096
#define PAGES 16
#define PATH "/data/log"

/* Synced writes, one behind the other, as a log makes them; the disk lies about one of them. */
struct run {
    struct sim_world *world;
    struct sim_node *node;
    enum sim_lie lie;
    unsigned lie_at; /* PAGES: none */
    unsigned cached_wrong;
    unsigned direct_wrong;
    uint8_t bytes[PAGES * PAGE]; /* after the end */
};

static unsigned wrong(const uint8_t *bytes)
{
    unsigned n = 0;
    for (unsigned p = 0; p < PAGES; p++) {
        n += bytes[p * PAGE] != 'a' + p;
    }
    return n;
}

static unsigned wrong_when_read(struct env *env, unsigned flags)
{
    struct env_file *file;
    void *bytes = aligned_alloc(ENV_DIRECT_ALIGN, PAGES * PAGE);
    size_t n;

    assert_int_equal(env_file_open(env, PATH, ENV_OPEN_READ | flags, &file), 0);
    assert_int_equal(env_file_read(env, file, bytes, PAGES * PAGE, 0, &n), 0);
    assert_int_equal(n, PAGES * PAGE);
    env_file_close(env, file);
    n = wrong(bytes);
    free(bytes);
    return (unsigned)n;
}

static void write_log(struct env *env, void *data)
{
    struct run *run = data;
    struct env_file *file;
    uint8_t page[PAGE];
    struct iovec iov = {page, PAGE};

    assert_int_equal(env_file_open(env, PATH, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), 0);
    for (unsigned p = 0; p < PAGES; p++) {
        if (p == run->lie_at) {
            sim_node_lie(run->node, run->lie);
        }
        memset(page, 'a' + (int)p, PAGE);
        assert_int_equal(env_file_write(env, file, &iov, 1, p * PAGE, ENV_SYNC_DATA), 0);
    }
    env_file_close(env, file);
    assert_int_equal(env_dir_sync(env, "/data"), 0);
    run->cached_wrong = wrong_when_read(env, 0);
    run->direct_wrong = wrong_when_read(env, ENV_OPEN_DIRECT);
}

static void make(struct run *run, uint64_t seed, enum sim_lie lie, unsigned lie_at)
{
    struct sim_program program = {.start = write_log, .data = run};

    memset(run, 0, sizeof(*run));
    run->lie = lie;
    run->lie_at = lie_at;
    run->world = sim_world_new(seed, NULL);
    run->node = sim_node_new(run->world, "n1");
    sim_node_make_dirs(run->node, "/data");
    sim_node_start(run->node, &program);
    sim_world_run_for(run->world, SIM_S);
}

static void finish(struct run *run, enum sim_end how)
{
    sim_node_kill(run->node, how);
    assert_int_equal(sim_node_file_peek(run->node, PATH, 0, run->bytes, sizeof(run->bytes)), sizeof(run->bytes));
    sim_world_free(run->world);
}

static void lost_write_is_seen_past_the_cache_and_after_a_power_cut(void **state)
{
    struct run run;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        make(&run, seed, SIM_LIE_LOST, (unsigned)(seed % (PAGES - 1)));
        assert_int_equal(run.cached_wrong, 0);
        assert_int_equal(run.direct_wrong, 1);
        assert_int_equal(sim_node_lies(run.node), 1);
        finish(&run, SIM_END_POWER);
        assert_int_equal(wrong(run.bytes), 1);
        assert_true(run.bytes[run.lie_at * PAGE] == 0);
    }
}

static void killed_program_leaves_the_lie_behind_the_cache(void **state)
{
    struct run run;

    make(&run, 1, SIM_LIE_LOST, 3);
    finish(&run, SIM_END_KILL);
    assert_int_equal(wrong(run.bytes), 0);
}

static void newest_write_is_spared(void **state)
{
    struct run run;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        make(&run, seed, seed % 2 == 0 ? SIM_LIE_LOST : SIM_LIE_ASTRAY, PAGES - 1);
        assert_true(run.direct_wrong > 0);
        assert_true(sim_world_counts(run.world)->lies_undone == 0);
        finish(&run, SIM_END_POWER);
        assert_true(run.bytes[(PAGES - 1) * PAGE] == 'a' + PAGES - 1);
    }
}

static void astray_write_hits_another_page(void **state)
{
    unsigned hits = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        unsigned at = 5 + (unsigned)(seed % (PAGES - 6));
        make(&run, seed, SIM_LIE_ASTRAY, at);
        assert_int_equal(run.cached_wrong, 0);
        finish(&run, SIM_END_POWER);
        assert_true(run.bytes[at * PAGE] == 0);
        for (unsigned p = 0; p < PAGES; p++) {
            hits += p != at && run.bytes[p * PAGE] == 'a' + at;
        }
    }
    assert_true(hits > SEEDS / 2);
}

static void rot_flips_one_bit_and_never_in_the_newest_write(void **state)
{
    unsigned cached = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run run;
        unsigned bits = 0;
        make(&run, seed, SIM_LIE_NONE, PAGES);
        assert_int_equal(run.cached_wrong + run.direct_wrong, 0);
        sim_node_lie(run.node, SIM_LIE_ROT);
        assert_int_equal(sim_node_lies(run.node), 1);
        assert_int_equal(sim_node_file_peek(run.node, PATH, 0, run.bytes, sizeof(run.bytes)), sizeof(run.bytes));
        for (size_t i = 0; i < sizeof(run.bytes); i++) {
            cached += run.bytes[i] != (uint8_t)('a' + i / PAGE);
        }
        finish(&run, SIM_END_POWER);
        for (size_t i = 0; i < sizeof(run.bytes); i++) {
            bits += (unsigned)__builtin_popcount((unsigned)(run.bytes[i] ^ (uint8_t)('a' + i / PAGE)));
        }
        assert_int_equal(bits, 1);
        assert_true(run.bytes[(PAGES - 1) * PAGE] == 'a' + PAGES - 1);
    }
    assert_true(cached > 0 && cached < SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_write_is_seen_past_the_cache_and_after_a_power_cut),
        cmocka_unit_test(killed_program_leaves_the_lie_behind_the_cache),
        cmocka_unit_test(newest_write_is_spared),
        cmocka_unit_test(astray_write_hits_another_page),
        cmocka_unit_test(rot_flips_one_bit_and_never_in_the_newest_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
