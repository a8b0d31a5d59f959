/* The producer's promise, checked at the log of a cluster that misbehaves: what is acknowledged is there exactly once,
 * at the offset that was told; nothing is there twice; nothing called failed is there; the order is the order sent. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/record/record_iter.h"
#include "tests/unit/client/check.h"
#include "tests/unit/client/world.h"

#define RECORDS_MAX 20000
#define PENDING (-1)

struct fate {
    int status; /* PENDING until told */
    int64_t offset;
    uint32_t partition;
};

struct load {
    struct producer_host host;
    struct world *w;
    struct producer *p;
    struct fate fates[RECORDS_MAX];
    size_t sent;
    size_t told;
    size_t counts[3];                       /* acknowledged, unknown, failed */
    size_t told_last[WORLD_PARTITIONS_MAX]; /* tag + 1 told last: the order of callbacks */
};

static uint64_t load_now(struct producer_host *host)
{
    return container_of(host, struct load, host)->w->now_ns;
}

static void load_delivered(struct producer_host *host, struct batch *b)
{
    struct load *l = container_of(host, struct load, host);

    for (int32_t i = 0; i < b->builder.count; i++) {
        size_t tag = (size_t)(uintptr_t)b->tags[i];
        struct fate *f = &l->fates[tag];

        assert_int_equal(f->status, PENDING);
        assert_int_equal(f->partition, b->partition->partition);
        assert_true(tag + 1 > l->told_last[f->partition]);
        l->told_last[f->partition] = tag + 1;
        f->status = b->status;
        f->offset = b->base_offset < 0 ? -1 : b->base_offset + i;
        l->told++;
        l->counts[b->status == 0 ? 0 : b->status == ERR_UNKNOWN_OUTCOME ? 1 : 2]++;
    }
}

static struct load *load_new(struct world *w, const struct producer_config *config)
{
    struct load *l = calloc(1, sizeof *l);
    struct producer_config c = *config;

    l->w = w;
    l->host.now_ns = load_now;
    l->host.delivered = load_delivered;
    c.accum.keep_tags = true;
    assert_int_equal(producer_new(&w->core, &l->host, &c, &l->p), 0);
    return l;
}

static int load_send(struct load *l, uint32_t partition, bool *wake)
{
    char value[32];
    int n = snprintf(value, sizeof value, "%zu", l->sent);
    struct accum_record r = {.topic = WORLD_TOPIC,
                             .partition = (int32_t)partition,
                             .key_length = -1,
                             .value = value,
                             .value_length = n,
                             .timestamp_ms = 1,
                             .tag = (void *)(uintptr_t)l->sent};
    int rv;

    assert_true(l->sent < RECORDS_MAX);
    rv = accum_append(&l->p->accum, &r, wake);
    if (rv == 0) {
        l->fates[l->sent] = (struct fate){.status = PENDING, .partition = partition};
        l->sent++;
    }
    return rv;
}

static bool load_done(void *arg)
{
    struct load *l = arg;

    return l->told == l->sent;
}

/* Until the topic is known: the first record goes. */
static void load_first(struct load *l)
{
    bool wake = false;

    for (int i = 0; i < 10000 && load_send(l, 0, &wake) != 0; i++) {
        (void)world_run(l->w, 1, NULL, NULL);
    }
    assert_int_equal(l->sent, 1);
}

/* @count records spread over the partitions, while the world goes on. */
static void load_run(struct load *l, size_t count, unsigned per_ms)
{
    size_t begin = l->sent;

    while (l->sent < begin + count) {
        for (unsigned i = 0; i < per_ms && l->sent < begin + count; i++) {
            bool wake = false;
            int rv = load_send(l, (uint32_t)rng_below(&l->w->rng, l->w->partition_count), &wake);
            if (rv == ERR_BUFFER_FULL) {
                break;
            }
            assert_int_equal(rv, 0);
        }
        (void)world_run(l->w, 1, NULL, NULL);
    }
}

/* The oracle. */
static void load_check(struct load *l)
{
    uint8_t *seen = calloc(RECORDS_MAX, 1);

    for (uint32_t i = 0; i < l->w->partition_count; i++) {
        struct world_partition *p = &l->w->partitions[i];
        long long last = -1;

        for (size_t b = 0; b < p->batch_count; b++) {
            struct record_iter it;
            struct record r;
            struct codec_scratch scratch;

            codec_scratch_init(&scratch, 0);
            assert_int_equal(record_iter_init(&it, p->batches[b].bytes, p->batches[b].size, &scratch), 0);
            while (record_iter_next(&it, &r)) {
                char value[32] = {0};
                long long tag;

                memcpy(value, r.value, (size_t)r.value_length);
                tag = atoll(value);
                assert_in_range(tag, 0, l->sent - 1);
                assert_int_equal(seen[tag]++, 0); /* nothing twice */
                assert_int_equal(l->fates[tag].partition, i);
                assert_true(tag > last); /* in order */
                last = tag;
                if (l->fates[tag].status == 0 && l->fates[tag].offset >= 0) {
                    assert_int_equal(l->fates[tag].offset, r.offset);
                }
                assert_true(l->fates[tag].status == 0 || l->fates[tag].status == ERR_UNKNOWN_OUTCOME);
            }
            assert_int_equal(record_iter_error(&it), 0);
            codec_scratch_close(&scratch);
        }
    }
    for (size_t i = 0; i < l->sent; i++) {
        assert_int_not_equal(l->fates[i].status, PENDING);
        if (l->fates[i].status == 0) {
            assert_int_equal(seen[i], 1);
        }
    }
    free(seen);
}

static void load_free(struct load *l)
{
    producer_close(l->p);
    assert_int_equal(l->told, l->sent);
    free(l);
}

static void config_default(struct producer_config *c)
{
    producer_config_init(c);
    c->accum.batch_size_bytes = 400;
}

static void calm_cluster_acknowledges_everything_in_order(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    world_init(&w, 4, 1);
    l = load_new(&w, &config);
    load_first(l);
    load_run(l, 5000, 50);
    assert_true(world_run(&w, 1000, load_done, l));
    assert_int_equal(l->counts[0], 5001);
    assert_int_equal(w.duplicates_seen, 0);
    assert_int_equal(w.init_requests, 1);
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void partitions_of_one_leader_share_a_request(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;
    bool wake = false;

    config_default(&config);
    world_init(&w, 6, 2);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    w.produce_requests = 0;
    w.produce_partitions = 0;
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(load_send(l, i, &wake), 0);
    }
    assert_true(world_run(&w, 1000, load_done, l));
    assert_int_equal(w.produce_partitions, 6);
    assert_true(w.produce_requests <= 4); /* three leaders; one connection may come up a turn later */
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void a_refused_batch_fails_and_those_behind_it_do_not(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    world_init(&w, 1, 3);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    w.force_produce_error = ERR_INVALID_RECORD;
    w.force_produce_count = 1;
    load_run(l, 1000, 200);
    assert_true(world_run(&w, 3000, load_done, l));
    assert_true(l->counts[2] > 0);
    assert_int_equal(l->counts[1], 0);
    assert_int_equal(l->counts[0] + l->counts[2], 1001);
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void never_sent_batches_time_out_as_not_written(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    config.accum.delivery_timeout_ms = 2000;
    world_init(&w, 1, 4);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    for (uint32_t n = 1; n <= WORLD_NODES; n++) {
        world_set_down(&w, n, true);
    }
    (void)world_run(&w, 100, NULL, NULL);
    load_run(l, 20, 20);
    assert_true(world_run(&w, 5000, load_done, l));
    assert_int_equal(l->counts[2], 20);
    assert_int_equal(l->fates[5].status, ERR_TIMEOUT);
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void silent_leader_gives_unknown_then_a_new_epoch_goes_on(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    config.accum.delivery_timeout_ms = 2000;
    world_init(&w, 1, 5);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    w.node_deaf[1] = true;
    load_run(l, 200, 100);
    assert_true(world_run(&w, 8000, load_done, l));
    assert_true(l->counts[1] > 0);
    assert_int_equal(l->counts[1] + l->counts[2], 200);
    w.node_deaf[1] = false;
    load_run(l, 200, 100);
    assert_true(world_run(&w, 8000, load_done, l));
    assert_int_equal(l->counts[0], 201);
    assert_int_equal(w.init_requests, 2);
    assert_int_equal(w.partitions[0].producers[0].epoch, 1);
    assert_int_equal(w.partitions[0].producer_count, 1); /* the same id: a new one would fence nothing */
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void a_moved_leader_is_found_when_the_old_one_is_silent(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;
    uint64_t began;

    config_default(&config);
    world_init(&w, 1, 6);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    w.node_deaf[1] = true;
    load_run(l, 100, 100);
    world_move_leader(&w, 0, 2);
    began = w.now_ns;
    assert_true(world_run(&w, 10000, load_done, l));
    assert_true(w.now_ns - began < 2 * NS_PER_S);
    assert_int_equal(l->counts[0], 101);
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void a_dead_leader_is_replaced_without_loss(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    world_init(&w, 3, 7);
    l = load_new(&w, &config);
    load_first(l);
    load_run(l, 500, 20);
    world_set_down(&w, 1, true);
    (void)world_run(&w, 700, NULL, NULL);
    world_move_leader(&w, 0, 3);
    load_run(l, 500, 20);
    assert_true(world_run(&w, 3000, load_done, l));
    assert_int_equal(l->counts[0], 1001);
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void a_leader_that_died_while_nothing_was_under_way_is_replaced(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    world_init(&w, 1, 13);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    world_set_down(&w, 1, true);
    (void)world_run(&w, 300, NULL, NULL); /* the metadata asked for now still names node 1 */
    load_run(l, 100, 100);
    (void)world_run(&w, 700, NULL, NULL);
    world_move_leader(&w, 0, 2);
    assert_true(world_run(&w, 400, load_done, l));
    assert_int_equal(l->counts[0], 101);
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void full_buffer_refuses_and_recovers(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;
    bool wake = false;
    int rv = 0;

    config_default(&config);
    config.accum.buffer_max_bytes = 64 << 10;
    config.accum.batch_size_bytes = 8 << 10;
    world_init(&w, 2, 8);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    while (rv == 0) {
        rv = load_send(l, 0, &wake);
    }
    assert_int_equal(rv, ERR_BUFFER_FULL);
    assert_true(l->p->accum.used_bytes <= config.accum.buffer_max_bytes);
    assert_true(world_run(&w, 3000, load_done, l));
    assert_int_equal(l->p->accum.used_bytes, 0);
    assert_int_equal(load_send(l, 0, &wake), 0);
    assert_true(world_run(&w, 3000, load_done, l));
    load_check(l);
    load_free(l);
    world_close(&w);
}

static void keys_choose_partitions_as_kafka_does(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;
    /* murmur2 of Kafka's own tests: "21" -> -973932308 */
    struct accum_record r = {.topic = WORLD_TOPIC, .partition = -1, .key = "21", .key_length = 2, .value_length = -1};
    bool wake = false;

    config_default(&config);
    world_init(&w, 7, 9);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    l->fates[1] = (struct fate){.status = PENDING, .partition = ((uint32_t)-973932308 & 0x7fffffff) % 7};
    r.tag = (void *)(uintptr_t)1;
    assert_int_equal(accum_append(&l->p->accum, &r, &wake), 0);
    l->sent = 2;
    assert_true(world_run(&w, 1000, load_done, l)); /* load_delivered checks the partition */
    load_free(l);
    world_close(&w);
}

static void records_without_a_key_avoid_a_partition_that_is_stuck(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;
    struct accum_record r = {.topic = WORLD_TOPIC, .partition = -1, .key_length = -1, .value = "1", .value_length = 1};
    uint64_t acknowledged;
    bool wake = false;

    config_default(&config);
    config.accum.batch_size_bytes = 1 << 20; /* would stay for a million bytes */
    world_init(&w, 3, 12);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    l->host.delivered = NULL;
    l->p->accum.topics->sticky = 1;
    w.node_deaf[w.partitions[1].leader] = true;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(accum_append(&l->p->accum, &r, &wake), 0);
        (void)world_run(&w, 1, NULL, NULL);
    }
    acknowledged = l->p->counts.records_acknowledged;
    assert_true(acknowledged > 500);
    assert_int_not_equal(l->p->accum.topics->sticky, 1);
    producer_close(l->p);
    free(l);
    world_close(&w);
}

static void bad_records_are_refused_at_once(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;
    struct accum_record r = {.topic = WORLD_TOPIC, .partition = 9, .key_length = -1, .value_length = -1};
    char huge_name[CLIENT_TOPIC_NAME_MAX + 2];
    bool wake = false;

    config_default(&config);
    world_init(&w, 1, 10);
    l = load_new(&w, &config);
    load_first(l);
    assert_int_equal(accum_append(&l->p->accum, &r, &wake), ERR_INVALID);
    r.partition = 0;
    r.timestamp_ms = -77;
    assert_int_equal(accum_append(&l->p->accum, &r, &wake), ERR_INVALID);
    r.timestamp_ms = 0;
    r.value = "";
    r.value_length = 17 << 20;
    assert_int_equal(accum_append(&l->p->accum, &r, &wake), ERR_TOO_BIG);
    memset(huge_name, 'x', sizeof huge_name);
    huge_name[sizeof huge_name - 1] = '\0';
    r.topic = huge_name;
    r.value_length = 0;
    assert_int_equal(accum_append(&l->p->accum, &r, &wake), ERR_INVALID);
    assert_true(world_run(&w, 3000, load_done, l));
    load_free(l);
    world_close(&w);
}

static void close_ends_everything(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    world_init(&w, 2, 11);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    w.node_deaf[1] = true;
    load_run(l, 300, 300);
    load_free(l); /* asserts that all were told */
    world_close(&w);
}

/* Everything at once, many seeds. With a delivery timeout longer than any trouble, nothing may end unknown. */
static void storm(uint64_t seed, bool short_timeout, struct world_faults faults)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    config.accum.delivery_timeout_ms = short_timeout ? 700 : 120000;
    config.codec = seed % 2 == 0 ? CODEC_ZSTD : CODEC_NONE;
    config.accum.linger_ms = seed % 3;
    world_init(&w, 1 + (uint32_t)(seed % 4), seed);
    l = load_new(&w, &config);
    load_first(l);
    w.faults = faults;
    load_run(l, 800, 8);
    if (seed % 5 == 0) {
        world_set_down(&w, 1 + (uint32_t)(seed % 3), true);
    }
    load_run(l, 800, 8);
    if (seed % 7 == 0) {
        (seed % 2 == 0 ? w.node_deaf : w.node_mute)[1 + (seed + 1) % 3] = true;
        (void)world_run(&w, 1500, NULL, NULL);
    }
    load_run(l, 800, 8);
    w.faults = (struct world_faults){0};
    for (uint32_t n = 1; n <= WORLD_NODES; n++) {
        world_set_down(&w, n, false);
        w.node_deaf[n] = false;
        w.node_mute[n] = false;
    }
    load_run(l, 200, 20);
    assert_true(world_run(&w, 150000, load_done, l));
    (void)world_run(&w, 5000, NULL, NULL); /* late copies arrive now, if ever */
    if (!short_timeout && faults.invalid == 0) {
        assert_int_equal(l->counts[0], l->sent);
    }
    assert_true(l->counts[0] > 0);
    load_check(l);
    load_free(l);
    world_close(&w);
}

static const struct world_faults everything = {.cut = 15,
                                               .unknown = 20,
                                               .late_apply = 10,
                                               .refuse = 20,
                                               .slow = 30,
                                               .ghost = 500,
                                               .move_leader = 15,
                                               .no_hint = 300,
                                               .fail_connect = 100};

/* How many seeds of each storm; more of them with CAIRN_TEST_STORMS=N. */
static uint64_t storms(void)
{
    const char *text = getenv("CAIRN_TEST_STORMS");

    return text != NULL ? strtoull(text, NULL, 10) : 60;
}

static void storms_lose_and_duplicate_nothing(void **state)
{
    for (uint64_t seed = 1; seed <= storms(); seed++) {
        storm(seed, false, everything);
    }
}

static void storms_with_short_timeouts_are_honest(void **state)
{
    for (uint64_t seed = 1; seed <= storms(); seed++) {
        storm(seed, true, everything);
    }
}

static void storms_with_refusals_are_honest(void **state)
{
    struct world_faults faults = everything;

    faults.invalid = 10;
    for (uint64_t seed = 1; seed <= storms(); seed++) {
        storm(seed, seed % 2 == 0, faults);
    }
}

/* A leader that carries out but never answers: what it wrote must not be written again under a new number. */
static void a_mute_leader_makes_no_duplicates(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    config.accum.delivery_timeout_ms = 1000;
    world_init(&w, 1, 14);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    w.node_mute[1] = true;
    load_run(l, 200, 5);
    (void)world_run(&w, 900, NULL, NULL);
    w.node_mute[1] = false;
    load_run(l, 200, 5);
    assert_true(world_run(&w, 8000, load_done, l));
    assert_true(l->counts[1] > 0);
    load_check(l);
    load_free(l);
    world_close(&w);
}

/* The partition has lost what it knew of us, as after its expiry: nothing is lost or unknown by it. */
static void a_forgetful_partition_gets_a_new_epoch(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;

    config_default(&config);
    world_init(&w, 1, 15);
    l = load_new(&w, &config);
    load_first(l);
    load_run(l, 100, 20);
    assert_true(world_run(&w, 1000, load_done, l));
    w.partitions[0].producer_count = 0;
    load_run(l, 300, 100);
    assert_true(world_run(&w, 3000, load_done, l));
    assert_int_equal(l->counts[0], 401);
    assert_int_equal(w.init_requests, 2);
    load_check(l);
    load_free(l);
    world_close(&w);
}

/* A batch that ended as unknown behind others that did not: it stays in the queue, and holds up no new epoch. */
static void an_unknown_batch_in_the_middle_does_not_keep_the_old_epoch(void **state)
{
    struct producer_config config;
    struct world w;
    struct load *l;
    bool wake = false;

    config_default(&config);
    config.accum.batch_size_bytes = 1; /* the least: three records or so each */
    config.accum.linger_ms = 0;
    world_init(&w, 1, 16);
    l = load_new(&w, &config);
    load_first(l);
    assert_true(world_run(&w, 1000, load_done, l));
    w.partitions[0].producer_count = 0;
    w.force_produce_error = ERR_UNKNOWN_OUTCOME;
    w.force_produce_skip = 1;
    w.force_produce_count = 1;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(load_send(l, 0, &wake), 0);
    }
    assert_true(world_run(&w, 3000, load_done, l));
    assert_int_equal(l->fates[1].status, 0);
    assert_true(l->counts[1] > 0);
    assert_int_equal(l->fates[8].status, 0);
    assert_int_equal(l->counts[2], 0);
    assert_int_equal(w.init_requests, 2);
    load_check(l);
    load_free(l);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calm_cluster_acknowledges_everything_in_order),
        cmocka_unit_test(partitions_of_one_leader_share_a_request),
        cmocka_unit_test(a_refused_batch_fails_and_those_behind_it_do_not),
        cmocka_unit_test(never_sent_batches_time_out_as_not_written),
        cmocka_unit_test(silent_leader_gives_unknown_then_a_new_epoch_goes_on),
        cmocka_unit_test(a_moved_leader_is_found_when_the_old_one_is_silent),
        cmocka_unit_test(a_dead_leader_is_replaced_without_loss),
        cmocka_unit_test(a_leader_that_died_while_nothing_was_under_way_is_replaced),
        cmocka_unit_test(full_buffer_refuses_and_recovers),
        cmocka_unit_test(keys_choose_partitions_as_kafka_does),
        cmocka_unit_test(records_without_a_key_avoid_a_partition_that_is_stuck),
        cmocka_unit_test(bad_records_are_refused_at_once),
        cmocka_unit_test(close_ends_everything),
        cmocka_unit_test(storms_lose_and_duplicate_nothing),
        cmocka_unit_test(storms_with_short_timeouts_are_honest),
        cmocka_unit_test(storms_with_refusals_are_honest),
        cmocka_unit_test(a_mute_leader_makes_no_duplicates),
        cmocka_unit_test(a_forgetful_partition_gets_a_new_epoch),
        cmocka_unit_test(an_unknown_batch_in_the_middle_does_not_keep_the_old_epoch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
