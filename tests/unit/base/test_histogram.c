#include "proto/base/histogram.h"

#include <stdlib.h>

#include "tests/unit/base/check.h"

static void empty_gives_zero(void **state)
{
    struct histogram h;

    histogram_init(&h);
    assert_int_equal(h.count, 0);
    assert_int_equal(histogram_percentile(&h, 50), 0);
    assert_int_equal(histogram_percentile(&h, 100), 0);
}

static void small_values_are_exact(void **state)
{
    struct histogram h;

    histogram_init(&h);
    for (uint64_t v = 1; v <= 50; v++) {
        histogram_add(&h, v);
    }
    assert_int_equal(h.count, 50);
    assert_int_equal(h.sum, 50 * 51 / 2);
    assert_int_equal(h.min, 1);
    assert_int_equal(h.max, 50);
    assert_int_equal(histogram_percentile(&h, 0), 1);
    assert_int_equal(histogram_percentile(&h, 50), 25);
    assert_int_equal(histogram_percentile(&h, 51), 26);
    assert_int_equal(histogram_percentile(&h, 99), 50);
    assert_int_equal(histogram_percentile(&h, 100), 50);
}

static void no_percentile_exceeds_the_largest_sample(void **state)
{
    struct histogram h;

    histogram_init(&h);
    histogram_add(&h, 1000000); /* not the last value of its bucket */
    assert_int_equal(histogram_percentile(&h, 50), 1000000);
    assert_int_equal(histogram_percentile(&h, 99.9), 1000000);
}

/* The bound that the header promises, around every power of two. */
static void the_error_is_bounded(void **state)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)(int64_t)delta;
            struct histogram h;
            uint64_t p;
            histogram_init(&h);
            histogram_add(&h, value);
            histogram_add(&h, UINT64_MAX); /* so that max does not hide the bucket's bound */
            p = histogram_percentile(&h, 50);
            assert_true(p >= value);
            assert_true(p - value <= value / 64);
        }
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void percentiles_agree_with_sorting(void **state)
{
    static const double percents[] = {1, 10, 50, 90, 99, 99.9};
    uint64_t values[2000];
    uint64_t x = 88172645463325252u;
    struct histogram h;

    histogram_init(&h);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        values[i] = x >> (x % 50);
        histogram_add(&h, values[i]);
    }
    qsort(values, ARRAY_SIZE(values), sizeof(values[0]), compare_u64);
    for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
        uint64_t exact = values[(size_t)((double)h.count * percents[i] / 100.0 + 0.9999) - 1];
        uint64_t got = histogram_percentile(&h, percents[i]);
        assert_true(got >= exact);
        assert_true(got - exact <= exact / 64);
    }
}

static void merging_equals_adding_to_one(void **state)
{
    struct histogram a, b, both, empty;

    histogram_init(&a);
    histogram_init(&b);
    histogram_init(&both);
    histogram_init(&empty);
    for (uint64_t i = 0; i < 1000; i++) {
        histogram_add(i % 3 == 0 ? &a : &b, i * i);
        histogram_add(&both, i * i);
    }
    histogram_merge(&a, &b);
    histogram_merge(&a, &empty);
    assert_memory_equal(&a, &both, sizeof(a));
    histogram_merge(&empty, &both);
    assert_int_equal(empty.min, 0);
    assert_int_equal(empty.max, 999 * 999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_gives_zero),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(no_percentile_exceeds_the_largest_sample),
        cmocka_unit_test(the_error_is_bounded),
        cmocka_unit_test(percentiles_agree_with_sorting),
        cmocka_unit_test(merging_equals_adding_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
