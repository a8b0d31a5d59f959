/* The consumer's promise: the records of a partition in order, none twice, none left out, whatever the cluster does. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/record/record_iter.h"
#include "tests/unit/client/check.h"
#include "tests/unit/client/world.h"

struct reader {
    struct world *w;
    struct consumer *c;
    int64_t next[WORLD_PARTITIONS_MAX]; /* offset expected */
    size_t records;
    size_t errors;
    int error_last;
    struct codec_scratch scratch;
    size_t wanted;
};

static void reader_init(struct reader *r, struct world *w, const struct consumer_config *config)
{
    memset(r, 0, sizeof *r);
    r->w = w;
    codec_scratch_init(&r->scratch, 0);
    assert_int_equal(consumer_new(&w->core, NULL, config, &r->c), 0);
}

static void reader_close(struct reader *r)
{
    consumer_close(r->c);
    codec_scratch_close(&r->scratch);
}

static void chunk_read(struct reader *r, struct chunk *chunk)
{
    uint32_t partition = chunk->partition->partition;
    size_t at = 0;

    while (at < chunk->size) {
        struct record_iter it;
        struct record record;

        assert_int_equal(record_iter_init(&it, chunk->bytes + at, chunk->size - at, &r->scratch), 0);
        while (record_iter_next(&it, &record)) {
            char expected[64];

            if (record.offset < chunk->begin) {
                continue;
            }
            assert_int_equal(record.offset, r->next[partition]);
            r->next[partition]++;
            snprintf(expected, sizeof expected, "value-%lld", (long long)record.offset);
            assert_int_equal(record.value_length, strlen(expected));
            assert_memory_equal(record.value, expected, strlen(expected));
            r->records++;
        }
        assert_int_equal(record_iter_error(&it), 0);
        at += it.batch.size;
    }
    assert_int_equal(chunk->end, r->next[partition]);
}

static bool reader_poll(void *arg)
{
    struct reader *r = arg;
    struct chunk *chunk;
    bool wake = false;

    while ((chunk = consumer_take(r->c, &wake)) != NULL) {
        if (chunk->status != 0) {
            r->errors++;
            r->error_last = chunk->status;
        } else {
            chunk_read(r, chunk);
        }
        chunk_free(chunk);
    }
    if (wake) {
        core_turn(&r->w->core, r->w->now_ns);
    }
    return r->wanted > 0 && r->records >= r->wanted;
}

static bool reader_failed(void *arg)
{
    struct reader *r = arg;

    (void)reader_poll(r);
    return r->errors > 0;
}

static void assign(struct reader *r, uint32_t partition, int64_t offset)
{
    bool wake = false;

    assert_int_equal(consumer_assign(r->c, WORLD_TOPIC, partition, offset, &wake), 0);
}

static void fill(struct world *w, uint32_t partition, int batches)
{
    for (int i = 0; i < batches; i++) {
        world_append(w, partition, 1 + (int32_t)rng_below(&w->rng, 20), i % 3 == 0 ? CODEC_ZSTD : CODEC_NONE);
    }
}

static size_t total(const struct world *w)
{
    size_t n = 0;

    for (uint32_t i = 0; i < w->partition_count; i++) {
        n += (size_t)w->partitions[i].next_offset;
    }
    return n;
}

static void all_records_arrive_in_order(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    world_init(&w, 3, 1);
    for (uint32_t i = 0; i < 3; i++) {
        fill(&w, i, 200);
    }
    reader_init(&r, &w, &config);
    for (uint32_t i = 0; i < 3; i++) {
        assign(&r, i, CONSUMER_EARLIEST);
    }
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    fill(&w, 1, 10); /* a long poll is waiting */
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    assert_int_equal(r.errors, 0);
    assert_int_equal(consumer_find(r.c, WORLD_TOPIC, 1)->position, w.partitions[1].next_offset);
    assert_int_equal(consumer_find(r.c, WORLD_TOPIC, 1)->high_watermark, w.partitions[1].next_offset);
    reader_close(&r);
    world_close(&w);
}

static void starts_in_the_middle_of_a_batch(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    world_init(&w, 1, 2);
    for (int i = 0; i < 10; i++) {
        world_append(&w, 0, 10, CODEC_NONE);
    }
    reader_init(&r, &w, &config);
    assign(&r, 0, 37);
    r.next[0] = 37;
    r.wanted = 63;
    assert_true(world_run(&w, 5000, reader_poll, &r));
    assert_int_equal(r.records, 63);
    reader_close(&r);
    world_close(&w);
}

static void latest_gives_only_what_comes_after(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    world_init(&w, 1, 3);
    fill(&w, 0, 10);
    reader_init(&r, &w, &config);
    assign(&r, 0, CONSUMER_LATEST);
    (void)world_run(&w, 500, reader_poll, &r);
    assert_int_equal(r.records, 0);
    r.next[0] = w.partitions[0].next_offset;
    world_append(&w, 0, 7, CODEC_ZSTD);
    r.wanted = 7;
    assert_true(world_run(&w, 5000, reader_poll, &r));
    reader_close(&r);
    world_close(&w);
}

static void out_of_range_is_told_and_seek_goes_on(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;
    bool wake = false;

    consumer_config_init(&config);
    world_init(&w, 1, 4);
    fill(&w, 0, 10);
    reader_init(&r, &w, &config);
    assign(&r, 0, 100000);
    assert_true(world_run(&w, 5000, reader_failed, &r));
    assert_int_equal(r.error_last, ERR_OFFSET_OUT_OF_RANGE);
    (void)world_run(&w, 1000, reader_poll, &r);
    assert_int_equal(r.errors, 1); /* once */
    consumer_seek(r.c, consumer_find(r.c, WORLD_TOPIC, 0), 0, &wake);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    reader_close(&r);
    world_close(&w);
}

static void out_of_range_follows_the_policy(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    config.on_out_of_range = POLICY_EARLIEST;
    world_init(&w, 1, 5);
    fill(&w, 0, 10);
    reader_init(&r, &w, &config);
    assign(&r, 0, 100000);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    assert_int_equal(r.errors, 0);
    reader_close(&r);
    world_close(&w);
}

static void pause_holds_and_resume_continues(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;
    struct consumer_partition *p;
    size_t before;
    bool wake = false;

    consumer_config_init(&config);
    world_init(&w, 1, 6);
    fill(&w, 0, 10);
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    p = consumer_find(r.c, WORLD_TOPIC, 0);
    consumer_pause(r.c, p, true, &wake);
    before = r.records;
    fill(&w, 0, 10);
    (void)world_run(&w, 2000, NULL, NULL);
    (void)reader_poll(&r);
    assert_int_equal(r.records, before);
    consumer_pause(r.c, p, false, &wake);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    reader_close(&r);
    world_close(&w);
}

static void prefetch_is_bounded(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;
    struct consumer_partition *p;

    consumer_config_init(&config);
    config.fetch_max_bytes = 1024;
    config.prefetch_max_bytes = 4096;
    world_init(&w, 1, 7);
    fill(&w, 0, 500);
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    (void)world_run(&w, 2000, NULL, NULL); /* nobody polls */
    p = consumer_find(r.c, WORLD_TOPIC, 0);
    assert_in_range(p->buffered_bytes, 1, 4096 + 1024);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    reader_close(&r);
    world_close(&w);
}

/* An answer that takes longer than a request may: asked for again it would take as long again, for ever. */
static void a_slow_way_needs_no_second_answer(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    world_init(&w, 2, 8);
    fill(&w, 0, 500);
    fill(&w, 1, 500);
    world_move_leader(&w, 0, 1);
    world_move_leader(&w, 1, 1);
    w.piece_bytes = 1000;
    w.piece_ns = 500 * NS_PER_MS;
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    assign(&r, 1, 0);
    r.wanted = total(&w);
    assert_true(world_run(&w, 600 * 1000, reader_poll, &r));
    assert_true(w.now_ns > 8 * w.core.config.request_timeout_ms * NS_PER_MS);
    assert_in_range(w.fetch_requests, 1, 2);
    assert_int_equal(r.errors, 0);
    reader_close(&r);
    world_close(&w);
}

/* ... but one that has stopped coming is waited for no longer than one that has not begun. */
static void an_answer_that_stops_in_the_middle_is_asked_for_again(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    world_init(&w, 1, 9);
    fill(&w, 0, 500);
    world_move_leader(&w, 0, 1);
    w.piece_bytes = 1000;
    w.piece_ns = 100 * NS_PER_MS;
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    (void)world_run(&w, 2000, NULL, NULL);
    assert_int_equal(w.fetch_requests, 1);
    w.node_deaf[1] = true;
    (void)world_run(&w, w.core.config.request_timeout_ms + config.fetch_max_wait_ms + 1000, NULL, NULL);
    w.node_deaf[1] = false;
    w.piece_bytes = 0;
    r.wanted = total(&w);
    assert_true(world_run(&w, 3000, reader_poll, &r));
    reader_close(&r);
    world_close(&w);
}

static void unknown_topic_is_told_after_some_patience(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    world_init(&w, 1, 8);
    w.topic_missing = true;
    fill(&w, 0, 5);
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    assert_true(world_run(&w, 10000, reader_failed, &r));
    assert_int_equal(r.error_last, ERR_UNKNOWN_TOPIC);
    w.topic_missing = false; /* created after all */
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    reader_close(&r);
    world_close(&w);
}

/* Found by the simulator: greeted while the cluster formed, a client took the zeros for the cluster's id and then
 * refused every node for good. */
static void a_node_that_is_not_yet_of_a_cluster_is_no_other_cluster(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    world_init(&w, WORLD_NODES, 8);
    w.node_unformed[1] = true;
    reader_init(&r, &w, &config);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        fill(&w, i, 10);
        world_move_leader(&w, i, i + 1);
        assign(&r, i, CONSUMER_EARLIEST);
    }
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    reader_close(&r);
    world_close(&w);
}

/* Found by the simulator: a consumer went on in the middle of the new topic. */
static void another_topic_by_the_name_is_read_from_its_beginning(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    config.on_out_of_range = POLICY_LATEST;
    world_init(&w, 1, 9);
    fill(&w, 0, 10);
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    world_renew_topic(&w);
    fill(&w, 0, 30);
    r.next[0] = 0;
    r.wanted += total(&w);
    assert_true(world_run(&w, 20000, reader_poll, &r));
    assert_int_equal(r.errors, 0);
    reader_close(&r);
    world_close(&w);
}

static void a_node_that_is_behind_does_not_bring_the_old_topic_back(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    config.on_out_of_range = POLICY_EARLIEST;
    world_init(&w, 1, 11);
    world_renew_topic(&w);
    fill(&w, 0, 10);
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    w.node_behind[1] = w.node_behind[2] = w.node_behind[3] = true;
    r.wanted = 0;
    for (int i = 0; i < 5; i++) {
        meta_refresh(&w.core);
        (void)world_run(&w, 300, reader_poll, &r);
    }
    w.node_behind[1] = w.node_behind[2] = w.node_behind[3] = false;
    fill(&w, 0, 10);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r)); /* nothing is read twice */
    assert_int_equal(r.errors, 0);
    reader_close(&r);
    world_close(&w);
}

static void another_topic_by_the_name_is_told_without_a_policy(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;
    bool wake = false;

    consumer_config_init(&config);
    world_init(&w, 1, 10);
    fill(&w, 0, 10);
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    r.wanted = total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    world_renew_topic(&w);
    fill(&w, 0, 30);
    assert_true(world_run(&w, 20000, reader_failed, &r));
    assert_int_equal(r.error_last, ERR_OFFSET_OUT_OF_RANGE);
    consumer_seek(r.c, consumer_find(r.c, WORLD_TOPIC, 0), CONSUMER_EARLIEST, &wake);
    r.next[0] = 0;
    r.wanted = r.records + total(&w);
    assert_true(world_run(&w, 5000, reader_poll, &r));
    assert_int_equal(r.errors, 1);
    reader_close(&r);
    world_close(&w);
}

static void unassign_and_close_while_a_fetch_is_under_way(void **state)
{
    struct consumer_config config;
    struct reader r;
    struct world w;
    bool wake = false;

    consumer_config_init(&config);
    world_init(&w, 2, 9);
    fill(&w, 0, 5);
    fill(&w, 1, 5);
    reader_init(&r, &w, &config);
    assign(&r, 0, 0);
    assign(&r, 1, 0);
    r.wanted = 1;
    assert_true(world_run(&w, 5000, reader_poll, &r));
    consumer_unassign(r.c, consumer_find(r.c, WORLD_TOPIC, 0), &wake);
    (void)world_run(&w, 1, NULL, NULL);
    assert_null(consumer_find(r.c, WORLD_TOPIC, 0));
    reader_close(&r);
    world_close(&w);
}

static void storm(uint64_t seed)
{
    struct consumer_config config;
    struct reader r;
    struct world w;

    consumer_config_init(&config);
    config.fetch_max_bytes = 2048;
    config.prefetch_max_bytes = 16384;
    world_init(&w, 1 + (uint32_t)(seed % 4), seed);
    w.faults = (struct world_faults){
        .cut = 30, .refuse = 30, .slow = 30, .move_leader = 40, .fail_connect = 100, .early = 300};
    reader_init(&r, &w, &config);
    for (uint32_t i = 0; i < w.partition_count; i++) {
        assign(&r, i, 0);
    }
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < w.partition_count; i++) {
            fill(&w, i, 20);
        }
        world_set_down(&w, 1 + (uint32_t)(rng_next(&w.rng) % 3), round % 4 == 0);
        (void)world_run(&w, 100, reader_poll, &r);
        if (round % 3 == 0) { /* back to somewhere, while a fetch is under way */
            uint32_t partition = (uint32_t)rng_below(&w.rng, w.partition_count);
            int64_t to = (int64_t)rng_below(&w.rng, (uint64_t)r.next[partition] + 1);
            bool wake = false;

            r.records -= (size_t)(r.next[partition] - to);
            r.next[partition] = to;
            consumer_seek(r.c, consumer_find(r.c, WORLD_TOPIC, partition), to, &wake);
        }
        for (uint32_t n = 1; n <= WORLD_NODES; n++) {
            world_set_down(&w, n, false);
        }
    }
    w.faults = (struct world_faults){0};
    r.wanted = total(&w);
    assert_true(world_run(&w, 30000, reader_poll, &r));
    assert_int_equal(r.records, total(&w));
    assert_int_equal(r.errors, 0);
    reader_close(&r);
    world_close(&w);
}

static void storms_leave_nothing_out(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        storm(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_records_arrive_in_order),
        cmocka_unit_test(starts_in_the_middle_of_a_batch),
        cmocka_unit_test(latest_gives_only_what_comes_after),
        cmocka_unit_test(out_of_range_is_told_and_seek_goes_on),
        cmocka_unit_test(out_of_range_follows_the_policy),
        cmocka_unit_test(pause_holds_and_resume_continues),
        cmocka_unit_test(prefetch_is_bounded),
        cmocka_unit_test(a_slow_way_needs_no_second_answer),
        cmocka_unit_test(an_answer_that_stops_in_the_middle_is_asked_for_again),
        cmocka_unit_test(unknown_topic_is_told_after_some_patience),
        cmocka_unit_test(a_node_that_is_not_yet_of_a_cluster_is_no_other_cluster),
        cmocka_unit_test(another_topic_by_the_name_is_read_from_its_beginning),
        cmocka_unit_test(a_node_that_is_behind_does_not_bring_the_old_topic_back),
        cmocka_unit_test(another_topic_by_the_name_is_told_without_a_policy),
        cmocka_unit_test(unassign_and_close_while_a_fetch_is_under_way),
        cmocka_unit_test(storms_leave_nothing_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
