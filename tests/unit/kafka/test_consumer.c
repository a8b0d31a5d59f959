/* What consumers put into their group's opaque bytes. */
#include "proto/kafka/kafka_consumer.h"
#include "tests/unit/kafka/test.h"

#define BYTES(text) ((struct kafka_bytes){(const uint8_t *)(text), sizeof(text) - 1})

static int setup(void **state)
{
    static struct kafka_arena arena;

    kafka_arena_init(&arena, KAFKA_ARENA_SIZE_MAX);
    *state = &arena;
    return 0;
}

static int teardown(void **state)
{
    kafka_arena_close(*state);
    return 0;
}

static void a_subscription_is_read_by_its_version(void **state)
{
    struct kafka_consumer_subscription s;

    assert_int_equal(kafka_consumer_subscription_parse(BYTES("\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"), *state, &s), 0);
    assert_int_equal(s.topics_count, 1);
    assert_true(kafka_string_equal(s.topics[0], kafka_string("t")));
    assert_int_equal(s.user_data.length, -1);
    assert_int_equal(s.generation_id, -1);
    assert_int_equal(kafka_consumer_subscription_parse(
                         BYTES("\0\x02\0\0\0\0\0\0\0\x01z\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05\0\0\0\x09"), *state, &s),
                     0);
    assert_int_equal(s.user_data.length, 1);
    assert_int_equal(s.owned_partitions[0].partitions[0], 5);
    assert_int_equal(s.generation_id, 9);
}

static void a_newer_subscription_is_read_as_our_newest(void **state)
{
    struct kafka_consumer_subscription s;

    assert_int_equal(
        kafka_consumer_subscription_parse(
            BYTES("\0\x09\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\0\0\0\x03\0\x01r and what came later"), *state, &s),
        0);
    assert_int_equal(s.generation_id, 3);
    assert_true(kafka_string_equal(s.rack_id, kafka_string("r")));
}

static void a_subscription_that_ends_early_is_read_as_the_oldest(void **state)
{
    struct kafka_consumer_subscription s;

    assert_int_equal(kafka_consumer_subscription_parse(BYTES("\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff"), *state, &s),
                     0);
    assert_int_equal(s.topics_count, 1);
    assert_int_equal(s.owned_partitions_count, 0);
}

static void nonsense_is_malformed(void **state)
{
    struct kafka_consumer_subscription s;
    struct kafka_consumer_assignment a;

    assert_int_equal(kafka_consumer_subscription_parse(BYTES(""), *state, &s), ERR_MALFORMED);
    assert_int_equal(kafka_consumer_subscription_parse(BYTES("\0"), *state, &s), ERR_MALFORMED);
    assert_int_equal(kafka_consumer_subscription_parse(BYTES("\0\x01\0\0\0\x09"), *state, &s), ERR_MALFORMED);
    assert_int_equal(kafka_consumer_subscription_parse(BYTES("\xff\xff\0\0\0\0\0\0\0\0"), *state, &s), ERR_VERSION);
    assert_int_equal(kafka_consumer_assignment_parse(BYTES("\0\0\0\0"), *state, &a), ERR_MALFORMED);
}

static void an_assignment_is_read_and_none_is_none(void **state)
{
    struct kafka_consumer_assignment a;

    assert_int_equal(kafka_consumer_assignment_parse(
                         BYTES("\0\x03\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x07\xff\xff\xff\xff"), *state, &a),
                     0);
    assert_int_equal(a.assigned_partitions[0].partitions_count, 2);
    assert_int_equal(a.assigned_partitions[0].partitions[1], 7);
    assert_int_equal(kafka_consumer_assignment_parse((struct kafka_bytes){NULL, 0}, *state, &a), 0);
    assert_int_equal(a.assigned_partitions_count, 0);
    assert_int_equal(kafka_consumer_assignment_parse((struct kafka_bytes){NULL, -1}, *state, &a), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_subscription_is_read_by_its_version, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_subscription_is_read_as_our_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(a_subscription_that_ends_early_is_read_as_the_oldest, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(an_assignment_is_read_and_none_is_none, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
