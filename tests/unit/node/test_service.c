/* Fetches that wait, produce at its time limit, and the end of a node with requests under way: over the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/node/door.h"

static struct door d;
static struct uuid topic;

static int open_one(void **state)
{
    door_defaults(&d);
    door_open(&d, 1);
    return door_create_topic(&d, "t", 2, 1, &topic);
}

static int open_two_shards(void **state)
{
    door_defaults(&d);
    d.shards = 2;
    door_open(&d, 1);
    return door_create_topic(&d, "t", 2, 1, &topic);
}

static int open_three(void **state)
{
    door_defaults(&d);
    door_open(&d, 3);
    return door_create_topic(&d, "t", 1, 3, &topic);
}

static int close_all(void **state)
{
    door_close(&d);
    return 0;
}

static void a_parked_fetch_is_woken_by_a_produce(void **state)
{
    for (uint32_t p = 0; p < 2; p++) {
        struct door_conn *c = door_connect(&d, 1);
        struct door_fetch f = {.partition = p, .max_wait_ms = 60000};
        uint32_t id = door_send_fetch(c, &topic, &f);
        size_t bytes = 0;
        int64_t hw = 0;
        door_run(&d, 300);
        assert_int_equal(c->n_answers, 0);
        assert_int_equal(door_produce(c, &topic, p, 100), 0);
        assert_int_equal(door_wait_fetch(c, id, 1000, &bytes, &hw), 0);
        assert_true(bytes > 100);
        assert_int_equal(hw, 1);
    }
}

static void a_fetch_waits_no_longer_than_it_says(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 700};
    uint64_t begin = sim_world_now(d.world);
    uint32_t id = door_send_fetch(c, &topic, &f);
    size_t bytes = 1;
    assert_int_equal(door_wait_fetch(c, id, 5000, &bytes, NULL), 0);
    assert_int_equal(bytes, 0);
    assert_in_range((sim_world_now(d.world) - begin) / SIM_MS, 700, 760);
}

static void one_partition_named_often_is_woken_once_for_each(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 60000, .times = 8};
    uint32_t id = door_send_fetch(c, &topic, &f);
    uint32_t second = door_send_fetch(c, &topic, &f);
    door_run(&d, 300);
    assert_int_equal(door_produce(c, &topic, 0, 100), 0);
    assert_int_equal(door_wait_fetch(c, id, 1000, NULL, NULL), 0);
    assert_int_equal(door_wait_fetch(c, second, 1000, NULL, NULL), 0);
}

static void min_bytes_are_waited_for(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 60000, .min_bytes = 5000, .max_bytes = 1u << 20};
    uint32_t id = door_send_fetch(c, &topic, &f);
    size_t bytes = 0;
    int64_t hw = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(door_produce(c, &topic, 0, 1000), 0);
        door_run(&d, 50);
        assert_int_equal(c->n_answers, i + 1); /* of the produces */
    }
    assert_int_equal(door_produce(c, &topic, 0, 1000), 0);
    assert_int_equal(door_wait_fetch(c, id, 1000, &bytes, &hw), 0);
    assert_in_range(bytes, 5000, 6000);
    assert_int_equal(hw, 5);
}

static void min_bytes_not_reached_are_answered_at_the_time_limit(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 500, .min_bytes = 1u << 20};
    uint32_t id;
    size_t bytes = 0;
    assert_int_equal(door_produce(c, &topic, 0, 1000), 0);
    id = door_send_fetch(c, &topic, &f);
    door_run(&d, 300);
    assert_int_equal(door_produce(c, &topic, 0, 1000), 0);
    assert_int_equal(c->n_answers, 2);
    assert_int_equal(door_wait_fetch(c, id, 1000, &bytes, NULL), 0);
    assert_in_range(bytes, 2000, 2500);
}

static void a_fetch_keeps_to_its_bytes_and_always_gets_on(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 100, .part_max_bytes = 2500};
    size_t bytes = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(door_produce(c, &topic, 0, 1000), 0);
    }
    assert_int_equal(door_wait_fetch(c, door_send_fetch(c, &topic, &f), 1000, &bytes, NULL), 0);
    assert_in_range(bytes, 2000, 2500);
    f.part_max_bytes = 1;
    assert_int_equal(door_wait_fetch(c, door_send_fetch(c, &topic, &f), 1000, &bytes, NULL), 0);
    assert_in_range(bytes, 1000, 1200);
    f.part_max_bytes = 0; /* no limit of its own */
    assert_int_equal(door_wait_fetch(c, door_send_fetch(c, &topic, &f), 1000, &bytes, NULL), 0);
    assert_in_range(bytes, 5000, 6000);
    f.max_bytes = 1500;
    f.times = 4;
    assert_int_equal(door_wait_fetch(c, door_send_fetch(c, &topic, &f), 1000, &bytes, NULL), 0);
    assert_in_range(bytes, 1000, 1500);
}

static void a_parked_fetch_ends_with_its_topic(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    struct door_fetch f = {.max_wait_ms = 60000};
    uint32_t id = door_send_fetch(c, &topic, &f);
    door_run(&d, 100);
    assert_int_equal(door_delete_topic(&d, "t"), 0);
    assert_int_equal(door_wait_fetch(c, id, 5000, NULL, NULL), ERR_UNKNOWN_TOPIC);
}

static void a_client_that_goes_leaves_nothing_parked(void **state)
{
    for (int i = 0; i < 20; i++) {
        struct door_conn *c = door_connect(&d, 1);
        struct door_fetch f = {.partition = (uint32_t)i % 2, .max_wait_ms = 300000, .times = 3};
        for (int k = 0; k < 5; k++) {
            (void)door_send_fetch(c, &topic, &f);
        }
        door_run(&d, (uint64_t)(i % 3)); /* also while requests and cancellations cross over */
        door_disconnect(c);
    }
    door_run(&d, 1000);
    {
        struct door_conn *c = door_connect(&d, 1);
        assert_int_equal(door_produce(c, &topic, 0, 100), 0);
        assert_int_equal(door_produce(c, &topic, 1, 100), 0);
    }
}

static void a_parked_fetch_ends_when_leadership_does(void **state)
{
    unsigned leader = door_leader(&d, &topic, 0);
    struct door_conn *c = door_connect(&d, leader);
    struct door_fetch f = {.max_wait_ms = 60000};
    uint32_t id = door_send_fetch(c, &topic, &f);
    door_run(&d, 300);
    sim_net_partition(d.world, 1ull << (leader - 1) | 1ull << sim_node_id(d.machine));
    assert_int_equal(door_wait_fetch(c, id, 10000, NULL, NULL), ERR_NOT_LEADER);
}

static void produce_without_a_quorum_is_unknown_at_the_time_limit(void **state)
{
    unsigned leader = door_leader(&d, &topic, 0);
    struct door_conn *c = door_connect(&d, leader);
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, 7, 0, 0, 100, 1000);
    uint32_t id;
    uint32_t again;
    assert_int_equal(door_produce(c, &topic, 0, 10), 0);
    sim_net_partition(d.world, 1ull << (leader - 1) | 1ull << sim_node_id(d.machine));
    id = door_send_produce(c, &topic, 0, batch, size, 100);
    again = door_send_produce(c, &topic, 0, batch, size, 60000); /* parks behind it */
    assert_int_equal(door_wait_produce(c, id, 600, NULL), ERR_UNKNOWN_OUTCOME);
    assert_int_equal(door_wait_produce(c, again, 20000, NULL), ERR_UNKNOWN_OUTCOME);
}

/* A node that starts again knows nobody until it has heard of the leader: it waits, and does not say that there are no nodes. */
static void a_topic_is_placed_by_current_metadata(void **state)
{
    struct door_conn *c;
    Cairn__Native__CreateTopicRequest create = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    struct door_answer *a;
    for (unsigned i = 1; i <= 3; i++) {
        door_kill(&d, i);
    }
    for (unsigned i = 1; i <= 3; i++) {
        door_start(&d, i);
    }
    door_run(&d, 1);
    c = door_connect(&d, 2);
    create.name = (char *)(uintptr_t)"u";
    create.replication = 3;
    create.timeout_ms = 20000;
    a = door_wait(c, door_send(c, CALL_CREATE_TOPIC, &create.base, NULL, 0), 20000);
    assert_non_null(a);
    assert_int_equal(a->header.status, 0);
    door_answer_free(a);
}

/* A follower, and the node that is told to stop, know who leads. */
static void the_wrong_node_names_the_leader(void **state)
{
    unsigned leader = door_leader(&d, &topic, 0);
    struct door_conn *c = door_connect(&d, leader % 3 + 1);
    struct door_answer *a;
    Cairn__Native__ProduceResponse *r;
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, -1, 0, 0, 100, 1000);
    char address[32];
    door_run(&d, 1000);
    a = door_wait(c, door_send_produce(c, &topic, 0, batch, size, 1000), 5000);
    assert_non_null(a);
    r = cairn__native__produce_response__unpack(NULL, a->header.message_length, a->message);
    assert_int_equal(r->partitions[0]->error, ERR_NOT_LEADER);
    assert_int_equal(r->partitions[0]->leader_node, leader);
    snprintf(address, sizeof address, "n%u:9092", leader);
    assert_string_equal(r->partitions[0]->leader_address, address);
    cairn__native__produce_response__free_unpacked(r, NULL);
    door_answer_free(a);
}

static bool stopped(void *data)
{
    return ((struct door_node *)data)->stopped;
}

/* Two of three are gone: nothing that is asked can end by itself, and the clients have much time. */
static void stopping_waits_for_nobody(void **state)
{
    unsigned leader = door_leader(&d, &topic, 0);
    struct door_conn *c = door_connect(&d, leader);
    Cairn__Native__CreateTopicRequest create = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, -1, 0, 0, 100, 1000);
    struct door_fetch f = {.max_wait_ms = 300000};
    assert_int_equal(door_produce(c, &topic, 0, 10), 0);
    for (unsigned i = 1; i <= 3; i++) {
        if (i != leader) {
            door_kill(&d, i);
        }
    }
    create.name = (char *)(uintptr_t)"u";
    create.timeout_ms = 300000;
    (void)door_send_produce(c, &topic, 0, batch, size, 300000);
    (void)door_send(c, CALL_CREATE_TOPIC, &create.base, NULL, 0);
    (void)door_send_fetch(c, &topic, &f);
    door_run(&d, 100);
    door_stop(&d, leader);
    assert_true(door_until(&d, stopped, &d.nodes[leader - 1], 3000));
}

static void stopping_under_load(void **state)
{
    struct door_conn *c[4];
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, -1, 0, 0, 100, 1000);
    for (int i = 0; i < 4; i++) {
        c[i] = door_connect(&d, 1);
    }
    for (int k = 0; k < 200; k++) {
        struct door_fetch f = {.partition = (uint32_t)k % 2, .max_wait_ms = 1000};
        (void)door_send_produce(c[k % 4], &topic, (uint32_t)k % 2, batch, size, 5000);
        (void)door_send_fetch(c[k % 4], &topic, &f);
    }
    door_run(&d, 2);
    door_stop(&d, 1);
    assert_true(door_until(&d, stopped, &d.nodes[0], 5000));
    for (int i = 0; i < 4; i++) {
        assert_true(door_until_ended(c[i], 1000));
    }
}

static void death_under_load_frees_everything(void **state)
{
    struct door_conn *c = door_connect(&d, 1);
    Cairn__Native__CreateTopicRequest create = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, -1, 0, 0, 100, 1000);
    create.name = (char *)(uintptr_t)"u";
    for (int k = 0; k < 50; k++) {
        struct door_fetch f = {.partition = (uint32_t)k % 2, .max_wait_ms = 1000, .offset = k % 3};
        (void)door_send_produce(c, &topic, (uint32_t)k % 2, batch, size, 5000);
        (void)door_send_fetch(c, &topic, &f);
    }
    (void)door_send(c, CALL_CREATE_TOPIC, &create.base, NULL, 0);
    door_run(&d, (uint64_t)(uintptr_t)*state);
    door_kill(&d, 1);
    door_start(&d, 1);
    assert_int_equal(door_leader(&d, &topic, 0), 1);
}

static void death_with_proposals_pending_frees_everything(void **state)
{
    unsigned leader = door_leader(&d, &topic, 0);
    struct door_conn *c = door_connect(&d, leader);
    uint8_t batch[400];
    size_t size = door_batch(batch, sizeof batch, 7, 0, 0, 100, 1000);
    assert_int_equal(door_produce(c, &topic, 0, 10), 0);
    sim_net_partition(d.world, 1ull << (leader - 1) | 1ull << sim_node_id(d.machine));
    (void)door_send_produce(c, &topic, 0, batch, size, 20);
    (void)door_send_produce(c, &topic, 0, batch, size, 60000);
    (void)door_send_produce(c, &topic, 0, batch, size / 2, 60000);
    door_run(&d, 300);
    door_kill(&d, leader);
}

int main(void)
{
    static void *soon = (void *)1;
    static void *later = (void *)3;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_parked_fetch_is_woken_by_a_produce, open_one, close_all),
        cmocka_unit_test_setup_teardown(a_fetch_waits_no_longer_than_it_says, open_one, close_all),
        cmocka_unit_test_setup_teardown(one_partition_named_often_is_woken_once_for_each, open_one, close_all),
        cmocka_unit_test_setup_teardown(min_bytes_are_waited_for, open_one, close_all),
        cmocka_unit_test_setup_teardown(min_bytes_not_reached_are_answered_at_the_time_limit, open_one, close_all),
        cmocka_unit_test_setup_teardown(a_fetch_keeps_to_its_bytes_and_always_gets_on, open_one, close_all),
        cmocka_unit_test_setup_teardown(a_parked_fetch_ends_with_its_topic, open_one, close_all),
        cmocka_unit_test_setup_teardown(a_client_that_goes_leaves_nothing_parked, open_one, close_all),
        cmocka_unit_test_setup_teardown(stopping_under_load, open_one, close_all),
        cmocka_unit_test_prestate_setup_teardown(death_under_load_frees_everything, open_one, close_all, soon),
        cmocka_unit_test_prestate_setup_teardown(death_under_load_frees_everything, open_one, close_all, later),
        /* the same across threads */
        cmocka_unit_test_setup_teardown(a_parked_fetch_is_woken_by_a_produce, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(one_partition_named_often_is_woken_once_for_each, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(min_bytes_are_waited_for, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(a_parked_fetch_ends_with_its_topic, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(a_client_that_goes_leaves_nothing_parked, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(stopping_under_load, open_two_shards, close_all),
        cmocka_unit_test_prestate_setup_teardown(death_under_load_frees_everything, open_two_shards, close_all, soon),
        cmocka_unit_test_prestate_setup_teardown(death_under_load_frees_everything, open_two_shards, close_all, later),
        cmocka_unit_test_setup_teardown(a_parked_fetch_ends_when_leadership_does, open_three, close_all),
        cmocka_unit_test_setup_teardown(produce_without_a_quorum_is_unknown_at_the_time_limit, open_three, close_all),
        cmocka_unit_test_setup_teardown(death_with_proposals_pending_frees_everything, open_three, close_all),
        cmocka_unit_test_setup_teardown(a_topic_is_placed_by_current_metadata, open_three, close_all),
        cmocka_unit_test_setup_teardown(the_wrong_node_names_the_leader, open_three, close_all),
        cmocka_unit_test_setup_teardown(stopping_waits_for_nobody, open_three, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
