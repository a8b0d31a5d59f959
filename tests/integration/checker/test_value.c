#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/checker/value.h"

static const struct value sample = {.kind = VALUE_LOAD,
                                    .run = 0x0123456789abcdefu,
                                    .producer = 3,
                                    .partition = 5,
                                    .sequence = 1ull << 40,
                                    .time_us = 1700000000000000u};

static void comes_back_as_it_was(void **state)
{
    uint8_t bytes[1000];
    struct value v;

    for (size_t size = VALUE_SIZE_MIN; size <= sizeof bytes; size += 7) {
        value_encode(&sample, bytes, size);
        memset(&v, 0, sizeof v);
        assert_int_equal(value_decode(bytes, size, &v), 0);
        assert_int_equal(v.kind, sample.kind);
        assert_true(v.run == sample.run && v.sequence == sample.sequence && v.time_us == sample.time_us);
        assert_int_equal(v.producer, sample.producer);
        assert_int_equal(v.partition, sample.partition);
    }
}

static void every_flipped_bit_shows(void **state)
{
    uint8_t bytes[100];
    struct value v;

    value_encode(&sample, bytes, sizeof bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(value_decode(bytes, sizeof bytes, &v), 0);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(value_decode(bytes, sizeof bytes, &v), 0);
}

static void a_cut_value_is_refused(void **state)
{
    uint8_t bytes[100];
    struct value v;

    value_encode(&sample, bytes, sizeof bytes);
    for (size_t size = 0; size < sizeof bytes; size++) {
        assert_int_not_equal(value_decode(bytes, size, &v), 0);
    }
}

static void fillers_differ_between_records(void **state)
{
    uint8_t a[200];
    uint8_t b[200];
    struct value other = sample;

    other.sequence++;
    value_encode(&sample, a, sizeof a);
    value_encode(&other, b, sizeof b);
    assert_memory_not_equal(a + VALUE_SIZE_MIN, b + VALUE_SIZE_MIN, sizeof a - VALUE_SIZE_MIN - 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(every_flipped_bit_shows),
        cmocka_unit_test(a_cut_value_is_refused),
        cmocka_unit_test(fillers_differ_between_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
