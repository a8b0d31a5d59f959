/* Files come back: recycled when all in them is dead, emptied when little is alive, and refused before the disk is full. */
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_limits.h"
#include "tests/unit/wal/fixture.h"

#define NOISE 9

/* Fill @n files or so with entries of group NOISE that are trimmed at once. */
static void churn(struct fx *fx, unsigned n)
{
    uint64_t next = fx_info(fx, NOISE).last_index + 1;

    for (unsigned i = 0; i < n * 5; i++) {
        fx_append(fx, NOISE, next, 10, 1, 5000);
        next += 10;
        fx_trim(fx, NOISE, next);
    }
}

static void recycling_keeps_hard_state_created_records_and_tombstones(void **state)
{
    struct fx fx;

    fx_init(&fx, 31);
    fx_open(&fx);
    fx_create(&fx, NOISE, 1, true);
    fx_create(&fx, 1, 11, true);
    fx_create(&fx, 2, 12, false);
    fx_create(&fx, 3, 13, false);
    fx_hard_state(&fx, 1, 8, 4);
    fx_append(&fx, 2, 1, 3, 1, 100);
    fx_install(&fx, 2, 500);
    fx_delete(&fx, 3);
    churn(&fx, 8);
    fx_settle(&fx);
    assert_true(fx_stats(&fx).files_recycled >= 3);
    assert_true(fx_stats(&fx).files <= 2);
    for (int i = 0; i < 2; i++) {
        fx_reopen(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 0);
        assert_int_equal(fx_info(&fx, 1).term, 8);
        assert_int_equal(fx_info(&fx, 1).vote, 4);
        assert_true(fx_info(&fx, 1).founder);
        assert_int_equal(fx_info(&fx, 2).incarnation, 2);
        assert_int_equal(fx_info(&fx, 2).first_index, 500);
        assert_true(fx_info(&fx, 3).tombstone);
    }
    fx_free(&fx);
}

static void live_entries_are_carried_out_of_mostly_dead_files(void **state)
{
    struct fx fx;

    fx_init(&fx, 32);
    fx_open(&fx);
    fx_create(&fx, NOISE, 1, true);
    fx_create(&fx, 1, 11, true);
    for (uint64_t i = 1; i <= 12; i++) {
        fx_append(&fx, 1, i, 1, 1, 700);
        churn(&fx, 1);
    }
    fx_settle(&fx);
    assert_true(fx_stats(&fx).bytes_carried > 0);
    assert_true(fx_stats(&fx).files <= 3);
    fx_assert_log(&fx, 1, 1, 12);
    fx_reopen(&fx);
    assert_int_equal(fx.recovery.groups_damaged, 0);
    fx_assert_log(&fx, 1, 1, 12);
    /* A replacement of what was carried stays one. */
    fx_append(&fx, 1, 5, 2, 2, 700);
    churn(&fx, 4);
    fx_settle(&fx);
    fx_reopen(&fx);
    fx_assert_log(&fx, 1, 1, 6);
    assert_int_equal(wal_group_term(wal_group_find(fx.wal, 1), 5), 2);
    fx_free(&fx);
}

/* The record that replaced entries may go before the entries it replaced do: they must not come back. */
static void replaced_entries_do_not_come_back_when_their_replacement_moves(void **state)
{
    struct fx fx;

    fx_init(&fx, 33);
    fx.params.file_size_bytes = 128u << 10;
    fx_open(&fx);
    fx_create(&fx, NOISE, 1, true);
    fx_create(&fx, 1, 11, true);
    fx_create(&fx, 2, 12, true);
    fx_append(&fx, 2, 1, 20, 1, 3500); /* keeps its file alive, and most of it */
    fx_append(&fx, 1, 1, 40, 1, 500);
    fx_settle(&fx);
    churn(&fx, 1);
    fx_append(&fx, 1, 10, 2, 2, 500);
    churn(&fx, 3);
    fx_settle(&fx);
    fx_reopen(&fx);
    churn(&fx, 3);
    fx_settle(&fx);
    fx_reopen(&fx);
    fx_assert_log(&fx, 1, 1, 11);
    fx_assert_log(&fx, 2, 1, 20);
    fx_free(&fx);
}

static void deleted_groups_give_their_space_back(void **state)
{
    struct fx fx;

    fx_init(&fx, 34);
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    fx_append(&fx, 1, 1, 200, 1, 5000);
    assert_true(fx_stats(&fx).files >= 4);
    fx_delete(&fx, 1);
    fx_settle(&fx);
    assert_int_equal(fx_stats(&fx).bytes_live, 0);
    assert_true(fx_stats(&fx).files <= 2);
    fx_forget(&fx, 1);
    fx_settle(&fx);
    fx_reopen(&fx);
    assert_int_equal(fx_info(&fx, 1).group, 0);
    fx_free(&fx);
}

static void the_bound_refuses_before_the_reserve_and_trimming_lifts_it(void **state)
{
    struct fx fx;
    uint64_t next = 1;

    fx_init(&fx, 35);
    fx.params.size_max_bytes = 4u << 20;
    fx.params.reserve_bytes = 1u << 20;
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    while (wal_accepts(fx.wal) == 0) {
        fx_append(&fx, 1, next, 10, 1, 5000);
        next += 10;
        assert_true(next < 2000);
    }
    assert_int_equal(wal_accepts(fx.wal), ERR_NO_SPACE);
    assert_true(fx_stats(&fx).bytes_total <= 4u << 20);
    for (uint64_t t = 1; t < 50; t++) {
        fx_hard_state(&fx, 1, t, 1); /* never refused */
    }
    fx_settle(&fx);
    assert_true(fx_stats(&fx).bytes_total <= 4u << 20);
    fx_assert_log(&fx, 1, 1, next - 1);
    fx_trim(&fx, 1, next - 100);
    fx_settle(&fx);
    assert_int_equal(wal_accepts(fx.wal), 0);
    fx_reopen(&fx);
    fx_assert_log(&fx, 1, next - 100, next - 1);
    assert_int_equal(fx_info(&fx, 1).term, 49);
    fx_free(&fx);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    struct fx fx;
    uint64_t next = 1;

    fx_init(&fx, 36);
    sim_node_set_disk_size(fx.node, 4u << 20);
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    while (wal_accepts(fx.wal) == 0) {
        fx_append(&fx, 1, next, 10, 1, 5000);
        next += 10;
        assert_true(next < 2000);
    }
    fx_hard_state(&fx, 1, 3, 1);
    fx_settle(&fx);
    fx_trim(&fx, 1, next);
    fx_settle(&fx);
    assert_true(sim_node_running(fx.node));
    assert_int_equal(wal_accepts(fx.wal), 0);
    fx_append(&fx, 1, next, 10, 1, 5000);
    fx_reopen(&fx);
    fx_assert_log(&fx, 1, next, next + 9);
    fx_free(&fx);
}

static void what_a_recycled_file_held_before_is_refused(void **state)
{
    struct fx fx;
    uint64_t stale = 0;

    /* The same sizes over and over, so that old records stand exactly where new ones would. */
    for (uint64_t seed = 0; seed < 20; seed++) {
        fx_init(&fx, 3700 + seed);
        fx_open(&fx);
        fx_create(&fx, NOISE, 1, true);
        churn(&fx, 4);
        for (uint64_t i = 0; i < seed; i++) {
            churn(&fx, 1);
        }
        uint64_t last = fx_info(&fx, NOISE).last_index;
        struct fx_write *w = fx_append_start(&fx, NOISE, last + 1, 10, 1, 5000);
        fx_reopen(&fx);
        fx_write_free(w);
        assert_int_equal(fx.recovery.groups_damaged, 0);
        /* A write that was not done may be there in part, when it did not fit into one flush. */
        assert_true(fx_info(&fx, NOISE).last_index >= last && fx_info(&fx, NOISE).last_index <= last + 10);
        fx_assert_log(&fx, NOISE, fx_info(&fx, NOISE).first_index, fx_info(&fx, NOISE).last_index);
        stale += fx.recovery.stale_records;
        fx_free(&fx);
    }
    assert_true(stale > 0);
}

static void the_cache_is_bounded_and_misses_are_counted(void **state)
{
    struct fx fx;
    uint32_t n;

    fx_init(&fx, 38);
    fx.params.cache_max_bytes = 20000;
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    fx_create(&fx, 2, 12, true);
    fx_append(&fx, 1, 1, 60, 1, 1000);
    fx_append(&fx, 2, 1, 60, 1, 1000);
    assert_true(fx_stats(&fx).cache_bytes <= 20000);
    assert_true(fx_stats(&fx).cache_bytes > 10000);
    assert_null(wal_cached(wal_group_find(fx.wal, 1), 60));
    assert_non_null(wal_cached(wal_group_find(fx.wal, 2), 60));
    assert_int_equal(fx_read(&fx, 2, 60, 1, 100, &n), 0);
    assert_int_equal(fx_stats(&fx).cache_misses, 0);
    assert_int_equal(fx_read(&fx, 1, 1, 60, 1u << 20, &n), 0);
    assert_int_equal(n, 60);
    assert_int_equal(fx_stats(&fx).cache_misses, 1);
    fx_free(&fx);
}

struct pinned {
    struct wal_read read;
    bool done;
    int status;
};

static void pinned_done(struct wal_read *read, int status)
{
    struct pinned *p = (struct pinned *)(void *)read;
    p->done = true;
    p->status = status;
}

static void read_then_delete(struct fx *fx, void *arg)
{
    struct pinned *p = arg;
    p->read = (struct wal_read){.group = 1, .first = 1, .n_max = 100, .bytes_max = 1u << 20, .done = pinned_done};
    assert_false(wal_read(fx->wal, &p->read));
    wal_group_trim(fx->wal, wal_group_find(fx->wal, 1), 101);
}

static bool pinned_is_done(void *data)
{
    return ((struct pinned *)data)->done;
}

/* What comes is what stood there at the call, whatever happens to the file meanwhile. */
static void a_file_is_not_recycled_under_a_reader(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct fx fx;
        struct pinned p = {.done = false};
        fx_init(&fx, 3900 + seed);
        sim_world_knobs(fx.world)->loop.work_max_ns = 30 * SIM_MS; /* slow workers */
        fx.params.cache_max_bytes = 0;
        fx_open(&fx);
        fx_create(&fx, 1, 11, true);
        fx_create(&fx, NOISE, 1, true);
        fx_append(&fx, 1, 1, 100, 1, 2000);
        churn(&fx, 1);
        assert_true(fx_call(&fx, read_then_delete, &p));
        churn(&fx, 1);
        assert_true(sim_world_run_until_true(fx.world, pinned_is_done, &p, 60 * SIM_S));
        assert_int_equal(p.status, 0);
        assert_int_equal(p.read.n, 100);
        for (uint32_t i = 0; i < p.read.n; i++) {
            assert_true(fx_entry_right(p.read.entries[i], 1, 1 + i, 1));
            entry_release(p.read.entries[i]);
        }
        free(p.read.entries);
        fx_free(&fx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recycling_keeps_hard_state_created_records_and_tombstones),
        cmocka_unit_test(live_entries_are_carried_out_of_mostly_dead_files),
        cmocka_unit_test(replaced_entries_do_not_come_back_when_their_replacement_moves),
        cmocka_unit_test(deleted_groups_give_their_space_back),
        cmocka_unit_test(the_bound_refuses_before_the_reserve_and_trimming_lifts_it),
        cmocka_unit_test(a_full_disk_refuses_and_recovers),
        cmocka_unit_test(what_a_recycled_file_held_before_is_refused),
        cmocka_unit_test(the_cache_is_bounded_and_misses_are_counted),
        cmocka_unit_test(a_file_is_not_recycled_under_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
