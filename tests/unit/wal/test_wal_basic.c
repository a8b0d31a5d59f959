/* What goes in comes out: at once, from the files, and after a power cut. */
#include "tests/unit/wal/fixture.h"

static void appended_entries_are_read_back_from_memory_and_after_a_power_cut(void **state)
{
    struct fx fx;

    fx_init(&fx, 1);
    fx_open(&fx);
    fx_create(&fx, 7, 1001, true);
    fx_append(&fx, 7, 1, 20, 1, 100);
    fx_assert_log(&fx, 7, 1, 20);
    assert_int_equal(fx_stats(&fx).cache_misses, 0);
    fx_reopen(&fx);
    fx_assert_log(&fx, 7, 1, 20);
    assert_true(fx_stats(&fx).cache_misses > 0);
    assert_int_equal(fx.recovery.entries, 20);
    assert_int_equal(fx.recovery.groups_damaged, 0);
    assert_int_equal(fx_info(&fx, 7).replica, 1001);
    assert_true(fx_info(&fx, 7).founder);
    fx_free(&fx);
}

static void append_replaces_everything_at_and_above_its_first_index(void **state)
{
    struct fx fx;

    fx_init(&fx, 2);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 30, 1, 50);
    fx_append(&fx, 7, 11, 3, 2, 60);
    for (int i = 0; i < 2; i++) {
        struct wal_group *g = wal_group_find(fx.wal, 7);
        fx_assert_log(&fx, 7, 1, 13);
        assert_int_equal(wal_group_term(g, 10), 1);
        assert_int_equal(wal_group_term(g, 11), 2);
        assert_int_equal(wal_group_length(g, 11), 60);
        assert_int_equal(wal_group_kind(g, 10), ENTRY_COMMAND);
        assert_int_equal(wal_group_term(g, 14), 0);
        fx_reopen(&fx);
    }
    fx_free(&fx);
}

static void hard_state_survives_and_the_newest_one_counts(void **state)
{
    struct fx fx;

    fx_init(&fx, 3);
    fx_open(&fx);
    fx_create(&fx, 1, 11, false);
    fx_create(&fx, 2, 12, true);
    fx_hard_state(&fx, 1, 5, 2);
    fx_hard_state(&fx, 1, 6, 3);
    fx_hard_state(&fx, 2, 9, 12);
    for (int i = 0; i < 3; i++) {
        fx_reopen(&fx);
        assert_int_equal(fx_info(&fx, 1).term, 6);
        assert_int_equal(fx_info(&fx, 1).vote, 3);
        assert_false(fx_info(&fx, 1).founder);
        assert_int_equal(fx_info(&fx, 2).term, 9);
        assert_true(fx_info(&fx, 2).founder);
    }
    fx_free(&fx);
}

static void many_groups_share_one_flush(void **state)
{
    struct fx fx;
    struct fx_write *w[40];
    uint64_t before;

    fx_init(&fx, 4);
    fx.params.inline_max_bytes = 1;
    fx_open(&fx);
    for (uint64_t g = 1; g <= 40; g++) {
        fx_create(&fx, g, 100 + g, true);
    }
    before = fx_stats(&fx).flushes;
    for (uint64_t g = 1; g <= 40; g++) {
        w[g - 1] = fx_append_start(&fx, g, 1, 2, 1, 500);
    }
    for (uint64_t g = 1; g <= 40; g++) {
        assert_true(fx_wait(&fx, w[g - 1]));
    }
    for (uint64_t g = 1; g < 40; g++) {
        assert_true(w[g]->order > w[g - 1]->order);
    }
    for (uint64_t g = 1; g <= 40; g++) {
        fx_write_free(w[g - 1]);
    }
    assert_true(fx_stats(&fx).flushes - before <= 3);
    fx_reopen(&fx);
    for (uint64_t g = 1; g <= 40; g++) {
        fx_assert_log(&fx, g, 1, 2);
    }
    fx_free(&fx);
}

static void large_payloads_and_more_than_one_file(void **state)
{
    struct fx fx;

    fx_init(&fx, 5);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 200, 1, 9001);
    fx_append(&fx, 7, 201, 1, 1, 700000); /* larger than a file */
    fx_append(&fx, 7, 202, 10, 1, 4096);
    fx_assert_log(&fx, 7, 1, 211);
    fx_reopen(&fx);
    fx_assert_log(&fx, 7, 1, 211);
    assert_true(fx.recovery.files > 6);
    fx_free(&fx);
}

static void a_write_larger_than_a_flush_completes_as_one(void **state)
{
    struct fx fx;
    struct fx_write *w;

    fx_init(&fx, 6);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    w = fx_append_start(&fx, 7, 1, 60, 1, 60000);
    assert_true(fx_wait(&fx, w));
    fx_write_free(w);
    fx_reopen(&fx);
    fx_assert_log(&fx, 7, 1, 60);
    fx_free(&fx);
}

static void read_answers_not_found_for_what_is_not_kept(void **state)
{
    struct fx fx;
    uint32_t n;

    fx_init(&fx, 7);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 5, 1, 10);
    assert_int_equal(fx_read(&fx, 7, 6, 10, 1000, &n), ERR_NOT_FOUND);
    assert_int_equal(fx_read(&fx, 8, 1, 10, 1000, &n), ERR_NOT_FOUND);
    fx_trim(&fx, 7, 4);
    assert_int_equal(fx_read(&fx, 7, 3, 10, 1000, &n), ERR_NOT_FOUND);
    assert_int_equal(fx_read(&fx, 7, 4, 10, 1000, &n), 0);
    assert_int_equal(n, 2);
    fx_free(&fx);
}

static void read_stops_at_its_bytes_but_the_first_always_comes(void **state)
{
    struct fx fx;
    uint32_t n;

    fx_init(&fx, 8);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 10, 1, 1000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fx_read(&fx, 7, 1, 10, 10, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(fx_read(&fx, 7, 2, 10, 3500, &n), 0);
        assert_int_equal(n, 3);
        assert_int_equal(fx_read(&fx, 7, 2, 2, 3500, &n), 0);
        assert_int_equal(n, 2);
        fx_reopen(&fx);
    }
    fx_free(&fx);
}

static void trim_is_kept_and_a_trimmed_log_goes_on(void **state)
{
    struct fx fx;

    fx_init(&fx, 9);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 300, 1, 10);
    fx_trim(&fx, 7, 280);
    fx_append(&fx, 7, 301, 1, 1, 10);
    fx_reopen(&fx);
    fx_assert_log(&fx, 7, 280, 301);
    fx_trim(&fx, 7, 302);
    fx_settle(&fx); /* the closing flush takes it along */
    fx_reopen(&fx);
    assert_int_equal(fx_info(&fx, 7).first_index, 302);
    assert_int_equal(fx_info(&fx, 7).last_index, 301);
    fx_append(&fx, 7, 302, 4, 2, 10);
    fx_reopen(&fx);
    fx_assert_log(&fx, 7, 302, 305);
    fx_free(&fx);
}

static void install_starts_a_new_incarnation(void **state)
{
    struct fx fx;

    fx_init(&fx, 10);
    fx_open(&fx);
    fx_create(&fx, 7, 1, false);
    fx_append(&fx, 7, 1, 50, 3, 10);
    fx_install(&fx, 7, 1001);
    assert_int_equal(fx_info(&fx, 7).last_index, 1000);
    fx_append(&fx, 7, 1001, 5, 4, 10);
    for (int i = 0; i < 2; i++) {
        fx_assert_log(&fx, 7, 1001, 1005);
        assert_int_equal(fx_info(&fx, 7).incarnation, 2);
        fx_reopen(&fx);
    }
    fx_free(&fx);
}

static void tombstone_refuses_the_id_until_it_is_forgotten(void **state)
{
    struct fx fx;
    struct fx_write *w;
    struct wal_group *g;

    fx_init(&fx, 11);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 5, 1, 10);
    fx_delete(&fx, 7);
    w = fx_write_new(&fx);
    for (int i = 0; i < 2; i++) {
        assert_true(fx_info(&fx, 7).tombstone);
        assert_int_equal(wal_group_create(fx.wal, 7, 2, true, &w->write, &g), ERR_EXISTS);
        fx_reopen(&fx);
    }
    fx_write_free(w);
    fx_forget(&fx, 7);
    assert_int_equal(fx_info(&fx, 7).group, 0);
    fx_settle(&fx);
    fx_reopen(&fx);
    assert_int_equal(fx_info(&fx, 7).group, 0);
    fx_create(&fx, 7, 2, false);
    fx_append(&fx, 7, 1, 3, 9, 20);
    fx_reopen(&fx);
    fx_assert_log(&fx, 7, 1, 3);
    assert_int_equal(fx_info(&fx, 7).replica, 2);
    fx_free(&fx);
}

static void close_is_orderly_and_loses_nothing(void **state)
{
    struct fx fx;
    struct fx_write *w;

    fx_init(&fx, 12);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    w = fx_append_start(&fx, 7, 1, 9, 1, 5000);
    fx_close(&fx);
    assert_true(w->done);
    fx_write_free(w);
    fx_reopen(&fx);
    fx_assert_log(&fx, 7, 1, 9);
    assert_int_equal(fx.recovery.torn_bytes, 0);
    fx_free(&fx);
}

static bool has_ended(void *data)
{
    struct fx *fx = data;
    return !sim_node_running(fx->node);
}

static void a_failed_sync_is_final(void **state)
{
    struct fx fx;
    struct fx_write *w;

    fx_init(&fx, 13);
    fx.params.inline_max_bytes = 1;
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 5, 1, 100);
    fx_settle(&fx);
    sim_node_disk_knobs(fx.node)->sync_error_ppm = 1000000;
    w = fx_append_start(&fx, 7, 6, 5, 1, 5000);
    assert_true(sim_world_run_until_true(fx.world, has_ended, &fx, 10 * SIM_S));
    assert_int_equal(fx.ended, SIM_END_FATAL);
    assert_false(w->done);
    fx_write_free(w);
    /* The page cache may show what the platter never got: recovery must not believe it. */
    sim_node_disk_knobs(fx.node)->sync_error_ppm = 0;
    fx_open(&fx);
    fx_assert_log(&fx, 7, 1, fx_info(&fx, 7).last_index);
    assert_true(fx_info(&fx, 7).last_index >= 5);
    fx_free(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_entries_are_read_back_from_memory_and_after_a_power_cut),
        cmocka_unit_test(append_replaces_everything_at_and_above_its_first_index),
        cmocka_unit_test(hard_state_survives_and_the_newest_one_counts),
        cmocka_unit_test(many_groups_share_one_flush),
        cmocka_unit_test(large_payloads_and_more_than_one_file),
        cmocka_unit_test(a_write_larger_than_a_flush_completes_as_one),
        cmocka_unit_test(read_answers_not_found_for_what_is_not_kept),
        cmocka_unit_test(read_stops_at_its_bytes_but_the_first_always_comes),
        cmocka_unit_test(trim_is_kept_and_a_trimmed_log_goes_on),
        cmocka_unit_test(install_starts_a_new_incarnation),
        cmocka_unit_test(tombstone_refuses_the_id_until_it_is_forgotten),
        cmocka_unit_test(close_is_orderly_and_loses_nothing),
        cmocka_unit_test(a_failed_sync_is_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
