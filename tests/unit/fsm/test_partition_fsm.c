/* The partition's state machine: offsets, producer state, where batches stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/fsm/partition/partition_fsm.h"
#include "proto/record/record_builder.h"

#define TIME_0 1700000000000ll

struct log {
    struct partition_fsm *fsm;
    uint64_t index;
    int64_t time_ms;
};

static int setup(void **state)
{
    struct log *log = test_calloc(1, sizeof *log);
    log->fsm = partition_fsm_new();
    log->time_ms = TIME_0;
    assert_non_null(log->fsm);
    *state = log;
    return 0;
}

static int teardown(void **state)
{
    struct log *log = *state;
    partition_fsm_free(log->fsm);
    test_free(log);
    return 0;
}

static struct record_batch_header header_of(int64_t producer, int16_t epoch, int32_t sequence, int32_t count)
{
    return (struct record_batch_header){
        .producer_id = producer,
        .producer_epoch = epoch,
        .base_sequence = sequence,
        .last_offset_delta = count - 1,
        .count = count,
    };
}

static struct entry *batch_entry(struct log *log, int64_t base_offset, int64_t producer, int16_t epoch, int32_t sequence,
                                 int32_t count, int64_t timestamp)
{
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct buf *buf = buf_new(NULL, 8192);
    struct record_builder b;
    struct entry *entry;
    uint8_t *bytes;
    size_t size;

    record_builder_init(&b, buf->data, 8192);
    for (int32_t i = 0; i < count; i++) {
        assert_int_equal(record_builder_append(&b, "k", 1, "v", 1, NULL, 0, timestamp), 0);
    }
    stamp.producer_id = producer;
    stamp.producer_epoch = epoch;
    stamp.base_sequence = producer < 0 ? -1 : sequence;
    assert_int_equal(record_builder_finish(&b, &stamp, NULL, &bytes, &size), 0);
    record_batch_set_base_offset(bytes, base_offset);
    entry = entry_new(ENTRY_BATCH, buf, bytes, (uint32_t)size);
    buf_release(buf);
    entry->index = ++log->index;
    entry->term = 1;
    entry->time_ms = log->time_ms;
    entry->base_offset = base_offset;
    return entry;
}

static int apply_batch(struct log *log, int64_t base_offset, int64_t producer, int16_t epoch, int32_t sequence, int32_t count)
{
    struct entry *entry = batch_entry(log, base_offset, producer, epoch, sequence, count, log->time_ms);
    int rv = partition_fsm_apply(log->fsm, entry);
    entry_release(entry);
    return rv;
}

static enum partition_verdict judge(struct log *log, int64_t producer, int16_t epoch, int32_t sequence, int32_t count,
                                    int64_t *base_offset)
{
    struct record_batch_header h = header_of(producer, epoch, sequence, count);
    return partition_fsm_judge(log->fsm, &h, base_offset);
}

static void offsets_are_dense_and_skip_rafts_own_entries(void **state)
{
    struct log *log = *state;
    struct entry *barrier = entry_new(ENTRY_BARRIER, NULL, NULL, 0);
    uint64_t index = 0;

    barrier->index = ++log->index;
    barrier->time_ms = TIME_0;
    assert_int_equal(partition_fsm_apply(log->fsm, barrier), 0);
    assert_int_equal(partition_fsm_high_watermark(log->fsm), 0);
    assert_int_equal(apply_batch(log, 0, -1, -1, 0, 3), 0); /* index 2 */
    barrier->index = ++log->index;
    assert_int_equal(partition_fsm_apply(log->fsm, barrier), 0);
    assert_int_equal(apply_batch(log, 3, -1, -1, 0, 2), 0); /* index 4 */
    entry_release(barrier);
    assert_int_equal(partition_fsm_high_watermark(log->fsm), 5);
    for (int64_t offset = 0; offset < 5; offset++) {
        assert_int_equal(partition_fsm_find_offset(log->fsm, offset, &index), 0);
        assert_int_equal(index, offset < 3 ? 2 : 4);
    }
    assert_int_equal(partition_fsm_find_offset(log->fsm, 5, &index), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(partition_fsm_find_offset(log->fsm, -1, &index), ERR_OFFSET_OUT_OF_RANGE);
}

static void an_entry_that_does_not_continue_is_refused(void **state)
{
    struct log *log = *state;
    assert_int_equal(apply_batch(log, 0, -1, -1, 0, 3), 0);
    assert_int_equal(apply_batch(log, 4, -1, -1, 0, 1), ERR_CORRUPT);
    assert_int_equal(apply_batch(log, 2, -1, -1, 0, 1), ERR_CORRUPT);
    assert_int_equal(partition_fsm_high_watermark(log->fsm), 3);
    assert_int_equal(apply_batch(log, 3, -1, -1, 0, 1), 0);
}

static void a_command_that_is_not_known_stops_the_replica(void **state)
{
    struct log *log = *state;
    struct entry *command = entry_new(ENTRY_COMMAND, NULL, NULL, 0);
    assert_int_equal(partition_fsm_apply(log->fsm, command), ERR_VERSION);
    entry_release(command);
}

static void a_committed_batch_sent_again_gets_its_offset(void **state)
{
    struct log *log = *state;
    int64_t offset = -7;
    for (int32_t i = 0; i < 7; i++) {
        assert_int_equal(judge(log, 9, 0, i * 2, 2, &offset), PARTITION_APPEND);
        assert_int_equal(offset, i * 2);
        assert_int_equal(apply_batch(log, i * 2, 9, 0, i * 2, 2), 0);
    }
    for (int32_t i = 2; i < 7; i++) { /* the last five */
        assert_int_equal(judge(log, 9, 0, i * 2, 2, &offset), PARTITION_DUPLICATE);
        assert_int_equal(offset, i * 2);
    }
    assert_int_equal(judge(log, 9, 0, 2, 2, &offset), PARTITION_DUPLICATE_OLD);
    assert_int_equal(judge(log, 9, 0, 12, 1, &offset), PARTITION_DUPLICATE_OLD); /* same first, other last */
    assert_int_equal(judge(log, 9, 0, 15, 1, &offset), PARTITION_OUT_OF_ORDER);
    assert_int_equal(judge(log, 9, 0, 14, 1, &offset), PARTITION_APPEND);
}

static void epochs_fence_and_begin_at_zero(void **state)
{
    struct log *log = *state;
    int64_t offset;
    assert_int_equal(judge(log, 9, 3, 17, 1, &offset), PARTITION_OUT_OF_ORDER); /* without state: only a beginning */
    assert_int_equal(apply_batch(log, 0, 9, 3, 17, 1), 0);
    assert_int_equal(judge(log, 9, 2, 18, 1, &offset), PARTITION_FENCED);
    assert_int_equal(judge(log, 9, 4, 18, 1, &offset), PARTITION_OUT_OF_ORDER);
    assert_int_equal(judge(log, 9, 4, 0, 1, &offset), PARTITION_APPEND);
    assert_int_equal(apply_batch(log, 1, 9, 4, 0, 1), 0);
    assert_int_equal(judge(log, 9, 3, 18, 1, &offset), PARTITION_FENCED);
    assert_int_equal(judge(log, 9, 4, 0, 1, &offset), PARTITION_DUPLICATE);
}

static void sequences_wrap_to_zero(void **state)
{
    struct log *log = *state;
    int64_t offset;
    assert_int_equal(apply_batch(log, 0, 9, 0, INT32_MAX - 1, 2), 0);
    assert_int_equal(judge(log, 9, 0, 0, 1, &offset), PARTITION_APPEND);
    assert_int_equal(judge(log, 9, 0, 1, 1, &offset), PARTITION_OUT_OF_ORDER);
    assert_int_equal(judge(log, 9, 0, INT32_MAX - 1, 2, &offset), PARTITION_DUPLICATE);
    assert_int_equal(apply_batch(log, 2, 9, 0, 0, 1), 0);
    assert_int_equal(judge(log, 9, 0, INT32_MAX - 2, 1, &offset), PARTITION_DUPLICATE_OLD);
    /* A batch that itself goes over the end. */
    assert_int_equal(apply_batch(log, 3, 10, 0, INT32_MAX, 3), 0);
    assert_int_equal(judge(log, 10, 0, 2, 1, &offset), PARTITION_APPEND);
}

static void what_is_in_flight_is_judged_against_and_dies_at_step_down(void **state)
{
    struct log *log = *state;
    struct record_batch_header a = header_of(9, 0, 0, 2);
    struct record_batch_header b = header_of(9, 0, 2, 2);
    struct record_batch_header plain = header_of(-1, -1, -1, 3);
    int64_t offset;

    assert_int_equal(judge(log, 9, 0, 0, 2, &offset), PARTITION_APPEND);
    assert_int_equal(partition_fsm_inflight(log->fsm, &a, 0), 0);
    assert_int_equal(judge(log, 9, 0, 0, 2, &offset), PARTITION_DUPLICATE_INFLIGHT);
    assert_int_equal(offset, 0);
    assert_int_equal(judge(log, 9, 0, 4, 2, &offset), PARTITION_OUT_OF_ORDER);
    assert_int_equal(judge(log, 9, 0, 2, 2, &offset), PARTITION_APPEND);
    assert_int_equal(offset, 2);
    assert_int_equal(partition_fsm_inflight(log->fsm, &b, 2), 0);
    assert_int_equal(partition_fsm_inflight(log->fsm, &plain, 4), 0);
    assert_int_equal(partition_fsm_offset_next(log->fsm), 7);
    assert_int_equal(partition_fsm_high_watermark(log->fsm), 0);

    assert_int_equal(apply_batch(log, 0, 9, 0, 0, 2), 0);
    assert_int_equal(judge(log, 9, 0, 0, 2, &offset), PARTITION_DUPLICATE);
    assert_int_equal(judge(log, 9, 0, 2, 2, &offset), PARTITION_DUPLICATE_INFLIGHT);
    assert_int_equal(offset, 2);

    partition_fsm_drop_inflight(log->fsm);
    assert_int_equal(partition_fsm_offset_next(log->fsm), 2);
    assert_int_equal(judge(log, 9, 0, 0, 2, &offset), PARTITION_DUPLICATE);
    assert_int_equal(judge(log, 9, 0, 2, 2, &offset), PARTITION_APPEND);
    assert_int_equal(offset, 2);
}

static void producers_expire_by_entry_time_alone(void **state)
{
    struct log *log = *state;
    int64_t offset;
    assert_int_equal(apply_batch(log, 0, 9, 0, 0, 1), 0);
    log->time_ms += PARTITION_PRODUCER_EXPIRY_MS;
    assert_int_equal(apply_batch(log, 1, 10, 0, 0, 1), 0);
    assert_int_equal(partition_fsm_producers(log->fsm), 2);
    assert_int_equal(judge(log, 9, 0, 5, 1, &offset), PARTITION_OUT_OF_ORDER);
    log->time_ms += 1;
    assert_int_equal(apply_batch(log, 2, 10, 0, 1, 1), 0);
    assert_int_equal(partition_fsm_producers(log->fsm), 1);
    assert_int_equal(judge(log, 9, 0, 5, 1, &offset), PARTITION_OUT_OF_ORDER);
    assert_int_equal(judge(log, 9, 0, 0, 1, &offset), PARTITION_APPEND); /* begins anew */
}

static void times_find_the_first_batch_that_reaches_them(void **state)
{
    struct log *log = *state;
    static const int64_t times[] = {100, 300, 200, 400};
    int64_t offset;
    uint64_t index;
    for (int i = 0; i < 4; i++) {
        struct entry *entry = batch_entry(log, i, -1, -1, 0, 1, times[i]);
        assert_int_equal(partition_fsm_apply(log->fsm, entry), 0);
        entry_release(entry);
    }
    assert_int_equal(partition_fsm_find_time(log->fsm, 50, &offset, &index), 0);
    assert_int_equal(offset, 0);
    assert_int_equal(partition_fsm_find_time(log->fsm, 101, &offset, &index), 0);
    assert_int_equal(offset, 1);
    assert_int_equal(partition_fsm_find_time(log->fsm, 301, &offset, &index), 0);
    assert_int_equal(offset, 3);
    assert_int_equal(index, 4);
    assert_int_equal(partition_fsm_find_time(log->fsm, 401, &offset, &index), ERR_NOT_FOUND);
}

static void equal_entries_give_equal_digests_whatever_was_in_flight(void **state)
{
    struct log *log = *state;
    struct log other = {.fsm = partition_fsm_new(), .time_ms = TIME_0};
    struct record_batch_header a = header_of(9, 0, 0, 1);

    assert_int_equal(partition_fsm_inflight(other.fsm, &a, 0), 0);
    for (int32_t i = 0; i < 3000; i++) { /* more than a chunk of the index */
        assert_int_equal(apply_batch(log, i, 9 + i % 3, 0, i / 3, 1), 0);
        assert_int_equal(apply_batch(&other, i, 9 + i % 3, 0, i / 3, 1), 0);
    }
    assert_int_equal(partition_fsm_digest(log->fsm), partition_fsm_digest(other.fsm));
    assert_int_equal(apply_batch(log, 3000, -1, -1, 0, 1), 0);
    assert_int_not_equal(partition_fsm_digest(log->fsm), partition_fsm_digest(other.fsm));
    partition_fsm_free(other.fsm);
}

static int apply_term(struct log *log, uint64_t term, int64_t base_offset, int32_t count)
{
    struct entry *entry = batch_entry(log, base_offset, -1, -1, 0, count, log->time_ms);
    int rv;
    entry->term = term;
    rv = partition_fsm_apply(log->fsm, entry);
    entry_release(entry);
    return rv;
}

static void assert_epoch(struct log *log, uint64_t asked, uint64_t epoch, int64_t end)
{
    uint64_t got = 0;
    int64_t offset = -7;
    assert_int_equal(partition_fsm_epoch_end(log->fsm, asked, &got, &offset), 0);
    assert_int_equal(got, epoch);
    assert_int_equal(offset, end);
}

static void each_leader_epoch_ends_where_the_next_begins(void **state)
{
    struct log *log = *state;
    struct entry *barrier = entry_new(ENTRY_BARRIER, NULL, NULL, 0);
    uint64_t epoch;
    int64_t offset;

    assert_int_equal(partition_fsm_epoch_end(log->fsm, 1, &epoch, &offset), ERR_NOT_FOUND);
    assert_int_equal(apply_term(log, 3, 0, 5), 0);
    assert_int_equal(apply_term(log, 3, 5, 5), 0);
    assert_int_equal(apply_term(log, 7, 10, 1), 0);
    barrier->index = ++log->index;
    barrier->term = 9; /* leads without a record of its own, as yet */
    assert_int_equal(partition_fsm_apply(log->fsm, barrier), 0);
    entry_release(barrier);
    assert_epoch(log, 1, 1, 0); /* before the first */
    assert_epoch(log, 3, 3, 10);
    assert_epoch(log, 5, 3, 10); /* between two */
    assert_epoch(log, 7, 7, 11);
    assert_epoch(log, 9, 9, 11);
    assert_int_equal(partition_fsm_epoch_end(log->fsm, 10, &epoch, &offset), ERR_NOT_FOUND);
    assert_int_equal(apply_term(log, 9, 11, 4), 0);
    assert_epoch(log, 9, 9, 15);
    assert_epoch(log, 8, 7, 11);
}

static int apply_trim(struct log *log, int64_t offset)
{
    struct entry *entry = partition_fsm_trim_entry(offset);
    int rv;
    entry->index = ++log->index;
    entry->term = 1;
    rv = partition_fsm_apply(log->fsm, entry);
    entry_release(entry);
    return rv;
}

static void what_is_trimmed_is_gone_and_the_log_start_never_goes_back(void **state)
{
    struct log *log = *state;
    uint64_t index = 0;
    int64_t offset = -1;
    int64_t time_ms;

    assert_int_equal(partition_fsm_newest_time(log->fsm, &time_ms), ERR_NOT_FOUND);
    for (int i = 0; i < 4; i++) {
        log->time_ms = TIME_0 + i;
        assert_int_equal(apply_term(log, 1, i * 5, 5), 0);
    }
    assert_int_equal(apply_trim(log, 7), 0);
    assert_int_equal(partition_fsm_log_start(log->fsm), 7);
    assert_int_equal(partition_fsm_find_offset(log->fsm, 6, &index), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(partition_fsm_find_offset(log->fsm, 7, &index), 0);
    assert_int_equal(index, 2); /* the batch that holds it */
    assert_int_equal(partition_fsm_find_time(log->fsm, TIME_0, &offset, &index), 0);
    assert_int_equal(offset, 7);
    assert_int_equal(index, 2);
    assert_int_equal(apply_trim(log, 3), 0);
    assert_int_equal(partition_fsm_log_start(log->fsm), 7);
    assert_int_equal(partition_fsm_newest_time(log->fsm, &time_ms), 0);
    assert_true(time_ms == TIME_0 + 3);
    assert_int_equal(apply_trim(log, 1000), 0);
    assert_int_equal(partition_fsm_log_start(log->fsm), 20);
    assert_int_equal(partition_fsm_high_watermark(log->fsm), 20);
    assert_int_equal(partition_fsm_find_time(log->fsm, TIME_0, &offset, &index), ERR_NOT_FOUND);
    assert_int_equal(partition_fsm_newest_time(log->fsm, &time_ms), ERR_NOT_FOUND);
    assert_int_equal(apply_term(log, 1, 20, 1), 0);
    assert_int_equal(partition_fsm_find_offset(log->fsm, 20, &index), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(offsets_are_dense_and_skip_rafts_own_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(an_entry_that_does_not_continue_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_command_that_is_not_known_stops_the_replica, setup, teardown),
        cmocka_unit_test_setup_teardown(a_committed_batch_sent_again_gets_its_offset, setup, teardown),
        cmocka_unit_test_setup_teardown(epochs_fence_and_begin_at_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(sequences_wrap_to_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_in_flight_is_judged_against_and_dies_at_step_down, setup, teardown),
        cmocka_unit_test_setup_teardown(producers_expire_by_entry_time_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(times_find_the_first_batch_that_reaches_them, setup, teardown),
        cmocka_unit_test_setup_teardown(each_leader_epoch_ends_where_the_next_begins, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_trimmed_is_gone_and_the_log_start_never_goes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_entries_give_equal_digests_whatever_was_in_flight, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
