/* The verifier must find what it is there to find: logs with one thing wrong each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/checker/checker.h"

#define BATCH_RECORDS 4
#define BATCHES 6
#define VALUE_SIZE 64
#define BATCH_CAPACITY 1024
#define PRODUCER_ID 77
#define RUN 0xabcdefu

struct world {
    struct checker ck;
    struct ck_lane lane;
    int64_t offsets[BATCHES];
    struct ck_reader follow;
    struct ck_reader again;
    uint64_t sequences[2];
    struct ck_seen *seen;
    uint64_t n_seen;
    uint64_t seen_capacity;
    uint8_t log[BATCHES + 2][BATCH_CAPACITY];
    size_t sizes[BATCHES + 2];
};

/* Batch @number of the lane, as it would stand at @offset. */
static void make_batch(struct world *w, int slot, uint64_t number, int64_t offset, int32_t epoch)
{
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct record_builder builder;
    uint8_t value[VALUE_SIZE];
    uint8_t *bytes;

    record_builder_init(&builder, w->log[slot], BATCH_CAPACITY);
    for (uint64_t i = 0; i < BATCH_RECORDS; i++) {
        struct value v = {.kind = VALUE_LOAD, .run = RUN, .sequence = number * BATCH_RECORDS + i};
        value_encode(&v, value, sizeof value);
        assert_int_equal(record_builder_append(&builder, NULL, -1, value, sizeof value, NULL, 0, 1000), 0);
    }
    stamp.producer_id = PRODUCER_ID;
    stamp.producer_epoch = 0;
    stamp.base_sequence = (int32_t)(number * BATCH_RECORDS);
    assert_int_equal(record_builder_finish(&builder, &stamp, NULL, &bytes, &w->sizes[slot]), 0);
    record_batch_set_base_offset(bytes, offset);
    record_batch_set_leader_epoch(bytes, epoch);
}

/* All batches, sent and acknowledged where they stand. */
static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->ck.args = (struct checker_args){.topic = "t", .streams = 1, .batch_records = BATCH_RECORDS};
    w->ck.run = RUN;
    w->ck.n_partitions = 1;
    w->ck.n_lanes = 1;
    w->ck.streams[0].producer_id = PRODUCER_ID;
    w->ck.lanes = &w->lane;
    w->ck.follow = &w->follow;
    w->ck.again = &w->again;
    w->ck.seen = &w->seen;
    w->ck.n_seen = &w->n_seen;
    w->ck.seen_capacity = &w->seen_capacity;
    w->lane.offsets = w->offsets;
    w->lane.next = BATCHES;
    w->follow = (struct ck_reader){.high_watermark = 1000, .sequences = &w->sequences[0]};
    w->again = (struct ck_reader){.high_watermark = 1000, .sequences = &w->sequences[1], .again = true};
    for (int i = 0; i < BATCHES; i++) {
        w->offsets[i] = i * BATCH_RECORDS;
        make_batch(w, i, (uint64_t)i, i * BATCH_RECORDS, 2);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    free(w->seen);
    free(w->ck.directs);
    free(w);
    return 0;
}

static void feed(struct world *w, struct ck_reader *reader, int begin, int end)
{
    for (int i = begin; i < end; i++) {
        verify_batches(&w->ck, reader, w->log[i], w->sizes[i]);
    }
}

static void end_is(struct world *w, int64_t end)
{
    verify_acknowledged(&w->ck, &end);
}

static void a_good_log_is_good(void **state)
{
    struct world *w = *state;
    feed(w, &w->follow, 0, BATCHES);
    feed(w, &w->again, 0, BATCHES);
    end_is(w, BATCHES * BATCH_RECORDS);
    assert_int_equal(w->ck.stats.violations, 0);
    assert_int_equal(w->again.records, BATCHES * BATCH_RECORDS);
}

static void an_acknowledged_tail_that_is_gone_is_lost(void **state)
{
    struct world *w = *state;
    feed(w, &w->again, 0, BATCHES - 1);
    end_is(w, (BATCHES - 1) * BATCH_RECORDS);
    assert_int_equal(w->ck.stats.lost, BATCH_RECORDS);
    assert_int_equal(w->ck.stats.violations, 1);
}

static void an_unacknowledged_tail_may_be_gone(void **state)
{
    struct world *w = *state;
    w->offsets[BATCHES - 1] = -1;
    feed(w, &w->again, 0, BATCHES - 1);
    end_is(w, (BATCHES - 1) * BATCH_RECORDS);
    assert_int_equal(w->ck.stats.violations, 0);
}

static void a_batch_that_stands_twice_is_found(void **state)
{
    struct world *w = *state;
    feed(w, &w->follow, 0, 3);
    make_batch(w, BATCHES, 2, 3 * BATCH_RECORDS, 2);
    feed(w, &w->follow, BATCHES, BATCHES + 1);
    assert_true(w->ck.stats.duplicates > 0);
}

static void swapped_batches_are_found(void **state)
{
    struct world *w = *state;
    feed(w, &w->follow, 0, 1);
    make_batch(w, BATCHES, 2, BATCH_RECORDS, 2);
    make_batch(w, BATCHES + 1, 1, 2 * BATCH_RECORDS, 2);
    feed(w, &w->follow, BATCHES, BATCHES + 2);
    assert_true(w->ck.stats.reordered > 0);
    assert_true(w->ck.stats.duplicates > 0);
}

static void a_hole_in_the_offsets_is_found(void **state)
{
    struct world *w = *state;
    feed(w, &w->follow, 0, 1);
    feed(w, &w->follow, 2, 3);
    assert_true(w->ck.stats.lost > 0);
}

static void another_place_than_acknowledged_is_found(void **state)
{
    struct world *w = *state;
    w->offsets[3] += 1;
    feed(w, &w->again, 0, BATCHES);
    assert_true(w->ck.stats.reordered > 0);
}

static void a_flipped_bit_is_found(void **state)
{
    struct world *w = *state;
    w->log[1][w->sizes[1] - 20] ^= 4;
    feed(w, &w->follow, 0, 2);
    assert_true(w->ck.stats.corrupt > 0);
}

static void above_the_high_watermark_is_found(void **state)
{
    struct world *w = *state;
    w->follow.high_watermark = BATCH_RECORDS;
    feed(w, &w->follow, 0, 1);
    assert_int_equal(w->ck.stats.violations, 0);
    feed(w, &w->follow, 1, 2);
    assert_int_equal(w->ck.stats.violations, 1);
}

static void what_was_never_sent_is_found(void **state)
{
    struct world *w = *state;
    w->lane.next = 2;
    feed(w, &w->follow, 0, 2);
    assert_int_equal(w->ck.stats.violations, 0);
    feed(w, &w->follow, 2, 3);
    assert_true(w->ck.stats.violations > 0);
}

static void a_log_that_changed_between_two_readings_is_found(void **state)
{
    struct world *w = *state;
    feed(w, &w->follow, 0, BATCHES);
    make_batch(w, 4, 4, 4 * BATCH_RECORDS, 3); /* the same records, from another leader */
    make_batch(w, 5, 5, 5 * BATCH_RECORDS, 3);
    feed(w, &w->again, 0, BATCHES);
    assert_int_equal(w->ck.stats.corrupt, 2);
}

static void an_older_leaders_epoch_behind_a_newer_one_is_found(void **state)
{
    struct world *w = *state;
    make_batch(w, 1, 1, BATCH_RECORDS, 1);
    feed(w, &w->follow, 0, 2);
    assert_int_equal(w->ck.stats.violations, 1);
}

static void a_stranger_in_the_log_is_found(void **state)
{
    struct world *w = *state;
    w->ck.run = RUN + 1;
    feed(w, &w->follow, 0, 1);
    assert_true(w->ck.stats.violations > 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_good_log_is_good),
        T(an_acknowledged_tail_that_is_gone_is_lost),
        T(an_unacknowledged_tail_may_be_gone),
        T(a_batch_that_stands_twice_is_found),
        T(swapped_batches_are_found),
        T(a_hole_in_the_offsets_is_found),
        T(another_place_than_acknowledged_is_found),
        T(a_flipped_bit_is_found),
        T(above_the_high_watermark_is_found),
        T(what_was_never_sent_is_found),
        T(a_log_that_changed_between_two_readings_is_found),
        T(an_older_leaders_epoch_behind_a_newer_one_is_found),
        T(a_stranger_in_the_log_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
