/* Recovery that crashes, at each change of the disk in turn, and is repeated gives the same result. */
#include "tests/unit/wal/fixture.h"

#define OPS_MAX 60

/* Several files, some recycled, a torn tail, a group that is gone. */
static void prepare(struct fx *fx, uint64_t seed)
{
    struct fx_write *w;

    fx_init(fx, seed);
    fx->params.file_size_bytes = 128u << 10;
    fx_open(fx);
    fx_create(fx, 1, 11, true);
    fx_create(fx, 2, 12, true);
    fx_create(fx, 3, 13, true);
    fx_append(fx, 1, 1, 50, 1, 3000);
    fx_append(fx, 2, 1, 50, 1, 3000);
    fx_append(fx, 1, 40, 30, 2, 1000);
    fx_delete(fx, 3);
    fx_trim(fx, 2, 45);
    fx_settle(fx);
    fx_hard_state(fx, 1, 9, 11);
    w = fx_append_start(fx, 1, 60, 10, 3, 2000);
    fx_crash(fx, SIM_END_POWER);
    fx_write_free(w);
}

static void assert_state(struct fx *fx)
{
    assert_int_equal(fx->recovery.groups_damaged, 0);
    assert_false(fx->recovery.all_damaged);
    fx_assert_log(fx, 2, 45, 50);
    assert_int_equal(fx_info(fx, 1).last_index, 69);
    assert_int_equal(fx_info(fx, 1).term, 9);
    fx_assert_log(fx, 1, 1, 69);
    assert_int_equal(wal_group_term(wal_group_find(fx->wal, 1), 40), 2);
    assert_true(fx_info(fx, 3).tombstone);
}

static void a_recovery_that_crashes_anywhere_is_repeated_with_the_same_result(void **state)
{
    unsigned crashed = 0;

    for (uint64_t seed = 41; seed < 45; seed++) {
        for (uint64_t op = 0; op < OPS_MAX; op++) {
            struct fx fx;
            prepare(&fx, seed);
            fx_start_and_crash(&fx, op, op % 2 ? SIM_END_POWER : SIM_END_KILL);
            crashed += fx.open_status == -1;
            fx_start_and_crash(&fx, op / 2, SIM_END_POWER);
            fx_open(&fx);
            assert_state(&fx);
            fx_reopen(&fx);
            assert_state(&fx);
            fx_free(&fx);
        }
    }
    assert_true(crashed > 20);
}

static void two_power_cuts_in_a_row_are_no_corruption(void **state)
{
    for (uint64_t seed = 50; seed < 90; seed++) {
        struct fx fx;
        prepare(&fx, seed);
        for (int i = 0; i < 4; i++) {
            struct fx_write *w;
            uint64_t last;
            fx_open(&fx);
            assert_int_equal(fx.recovery.groups_damaged, 0);
            last = fx_info(&fx, 1).last_index;
            w = fx_append_start(&fx, 1, last + 1, 5, 4, 4000);
            sim_world_run_for(fx.world, sim_world_random(fx.world) % (300 * SIM_US));
            fx_crash(&fx, SIM_END_POWER);
            fx_open(&fx);
            assert_int_equal(fx.recovery.groups_damaged, 0);
            assert_true(fx_info(&fx, 1).last_index == last + 5 || (!w->done && fx_info(&fx, 1).last_index == last));
            fx_write_free(w);
            fx_crash(&fx, SIM_END_POWER);
        }
        fx_open(&fx);
        fx_assert_log(&fx, 1, 1, fx_info(&fx, 1).last_index);
        fx_free(&fx);
    }
}

static void restarting_often_does_not_eat_the_disk(void **state)
{
    struct fx fx;

    fx_init(&fx, 91);
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    for (uint64_t i = 1; i <= 40; i++) {
        fx_append(&fx, 1, i, 1, 1, 300);
        fx_settle(&fx);
        fx_reopen(&fx);
    }
    fx_assert_log(&fx, 1, 1, 40);
    fx_settle(&fx);
    assert_true(fx_stats(&fx).files <= 4);
    assert_true(fx_stats(&fx).bytes_total <= 8 * fx.params.file_size_bytes);
    fx_free(&fx);
}

static void another_shards_files_are_refused(void **state)
{
    struct fx fx;

    fx_init(&fx, 92);
    fx_open(&fx);
    fx_crash(&fx, SIM_END_KILL);
    fx.params.shard = 4;
    fx_start(&fx);
    assert_int_equal(fx.open_status, ERR_CORRUPT);
    fx.params.shard = 3;
    fx_crash(&fx, SIM_END_KILL);
    fx_open(&fx);
    fx_free(&fx);
}

/* A program that dies inside wal_open() leaves its memory behind, as programs do. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "detect_leaks=0";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recovery_that_crashes_anywhere_is_repeated_with_the_same_result),
        cmocka_unit_test(two_power_cuts_in_a_row_are_no_corruption),
        cmocka_unit_test(restarting_often_does_not_eat_the_disk),
        cmocka_unit_test(another_shards_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
